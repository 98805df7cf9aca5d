"""``plan``: what a profile's run will fetch, hold and take on a machine, counted before anything starts."""

import argparse

HELP = "what a profile's notebooks will fetch, hold and take on a machine, before anything starts"
EXAMPLE = "python -m vlm_sae_lib plan --profile colab --machine t4"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--profile", help="pocket, light, colab or paper; all of them unless told")
    parser.add_argument(
        "--machine", help="t4, runner, a100, two_cores, or here, which measures this one; the profile's own unless told"
    )
    parser.add_argument("--only", metavar="PREFIX", help="one notebook, run alone, by the beginning of its name")


def main(arguments: argparse.Namespace) -> int:
    from vlm_sae_lib.errors import UserError
    from vlm_sae_lib.plan.machines import machine
    from vlm_sae_lib.plan.promises import PROMISES
    from vlm_sae_lib.plan.table import plan_text
    from vlm_sae_lib.plan.work import NOTEBOOKS
    from vlm_sae_lib.profiles import PROFILES, load_profile

    profiles = [load_profile(name) for name in ([arguments.profile] if arguments.profile else PROFILES)]
    notebook = next((name for name in NOTEBOOKS if arguments.only and name.startswith(arguments.only)), None)
    if arguments.only and notebook is None:
        raise UserError(f"No notebook's name begins with {arguments.only!r}: they are {', '.join(NOTEBOOKS)}.")
    for profile in profiles:
        name = arguments.machine or PROMISES[profile.name].machine
        if name == "here":
            from vlm_sae_lib.plan.here import here

            where = here(profile)
        else:
            where = machine(name)
        print(plan_text(profile, where, notebook), flush=True)
    return 0
