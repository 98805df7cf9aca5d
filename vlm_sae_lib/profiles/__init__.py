"""Profiles: every number of a run, by name."""

from vlm_sae_lib.profiles.named import PROFILES, Profile, SteeringSize, load_profile

__all__ = ["PROFILES", "Profile", "SteeringSize", "load_profile"]
