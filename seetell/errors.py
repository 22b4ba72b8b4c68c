"""Every failure that a user can act upon, in one tree, each with the exit code that it ends the command with.

    SeetellError
    ├── Failed              1   the work itself did not succeed
    │   ├── DiskFull        1   there is no room for what is written
    │   └── HalfSupervised  1   a token holds supervised and other text
    ├── UsageError          2   the command or the recipe asks for something impossible
    │   └── ConfigError     2   a recipe or a setting is wrong; the message says where
    ├── BadInput            3   a file or a data set is not what it should be
    │   └── DamagedFile     3   a file does not hold what it should
    ├── ServiceError        4   a service outside this machine failed
    └── Interrupted         130 the user stopped the work; the message says what is kept and how to resume

A message is one sentence: what happened, where, and what to do. `Rejected` and `Unscored` (`types.py`) are not
errors: they are values, for what is expected to fail in a part of a large set.
"""

from __future__ import annotations


class SeetellError(Exception):
    """A failure told in one sentence; the command prints it and ends with `exit_code`."""

    exit_code = 1


class Failed(SeetellError):
    """The work itself did not succeed."""


class DiskFull(Failed, OSError):
    """The disk has no room for what is written: made as an OSError is, of its number, reason and place."""

    def __str__(self) -> str:
        return (
            f"There is no room left for {self.filename} ({self.strerror}): make room there, and run the same command "
            "again."
        )


class HalfSupervised(Failed):
    """A token holds text of two spans that are supervised differently, so that no mask is right for it."""


class UsageError(SeetellError):
    """What was asked for cannot be done as it was asked."""

    exit_code = 2


class ConfigError(UsageError, ValueError):
    """A recipe or a setting is wrong. The message says where, and what would be right."""


class BadInput(SeetellError):
    """A file or a data set is not what it should be."""

    exit_code = 3


class DamagedFile(BadInput, ValueError):
    """A file does not hold what it should. The message names it and says what is wrong."""


class ServiceError(SeetellError):
    """A service outside this machine failed."""

    exit_code = 4


class Interrupted(SeetellError):
    """The user stopped the work. The message says what is kept, and how to resume."""

    exit_code = 130
