"""Every experiment of the paper, each with the control it lacks; ``python -m vlm_sae_lib run --only experiments``.

One module is one experiment. Each takes a workbench, and fills a results file with values, intervals and controls. What
the numbers say is judged elsewhere (``claims``), from the file alone.
"""
