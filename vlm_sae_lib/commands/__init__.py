"""One module per stage of the command line: HELP, EXAMPLE, ``add_arguments(parser)``, ``main(arguments) -> code``."""
