"""What Schemathesis cannot know of Envoke: which of its 5xx are the function's own."""

import schemathesis

# Codes that a caller's code may bring about, by their status. All others are ours.
OF_FUNCTIONS = {500: "RUNTIME_ERROR", 504: "TIMEOUT", 507: "RESOURCE_EXHAUSTED"}


@schemathesis.check
def server_error_has_a_cause(ctx, response, case):
    """A 5xx says that the function failed: a healthy installation has no others."""
    if response.status_code < 500:
        return
    error = response.json()["error"]
    assert error["code"] == OF_FUNCTIONS.get(response.status_code), error
    assert error["details"]["component"] == "function", error
