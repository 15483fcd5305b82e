"""The failures that the agent explains in a sentence; anything else is a bug and is reported with its traceback."""


class AgentError(Exception):
    """Something went wrong that an operator can understand: the message names the thing, the value and the rule."""


class EdgeRefused(AgentError):
    """The control plane answered 4xx or 3xx: trying again would not help, and the run must stop."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class EdgeUnreachable(AgentError):
    """No answer, or only 5xx, after every retry."""


class CommandFailed(AgentError):
    """A command ended with a code that its step does not allow, or was stopped at its deadline."""

    def __init__(self, message: str, exit_code: int | None, timed_out: bool = False) -> None:
        super().__init__(message)
        self.exit_code = exit_code
        self.timed_out = timed_out
