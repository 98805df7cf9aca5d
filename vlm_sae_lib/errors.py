"""The one exception for what the user can mend."""


class UserError(ValueError):
    """A mistake that the user can mend.

    The message is one sentence that says what is wrong, where, and how to mend it. The command line prints it on one
    line of stderr and exits with 2; a notebook shows it as it is.
    """
