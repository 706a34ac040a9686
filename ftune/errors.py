"""Errors that a user can cause or meet, each with the exit code of the command line.

A message names the place, what is wrong and what to do. Anything else that reaches the top is
a bug.
"""


class FtuneError(Exception):
    """Base of all errors that are told as one message instead of a traceback."""

    exit_code = 1


class RecipeError(FtuneError):
    """A recipe or the arguments are wrong; ``problems`` holds one line each, all found at once."""

    exit_code = 2

    def __init__(self, *problems: str) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))


class DataError(FtuneError):
    """A data file or row can't be used; the message names file and row."""

    exit_code = 3


class ModelError(FtuneError):
    """A model, tokenizer or adapter can't be used; the message names the file or tensor."""

    exit_code = 4


class RunError(FtuneError):
    """The run failed: training diverged, the disk is full, the directory is taken."""

    exit_code = 5


class PeerLostError(RunError):
    """Another process of the same training has ended or hangs; this one is not the cause.

    Its exit code is seen by what started the processes, and tells it to look for the cause.
    """

    exit_code = 75


class Interrupted(FtuneError):  # noqa: N818 (it is no fault)
    """The run was asked to stop and has saved its state; 130 for Ctrl-C, 143 for SIGTERM."""

    def __init__(self, message: str, exit_code: int = 130) -> None:
        super().__init__(message)
        self.exit_code = exit_code
