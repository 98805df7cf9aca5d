"""Files of SAEs: our folder, what lies on the hub, what the authors released, and which library wrote a stranger's."""
