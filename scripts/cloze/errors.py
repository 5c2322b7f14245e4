"""The one exception that a user is meant to read."""


class ClozeError(Exception):
    """A problem that the user can fix.

    The message names the file and the key or row at fault and says what to do;
    the command line prints it as one line, without a traceback, and exits with 1.
    """
