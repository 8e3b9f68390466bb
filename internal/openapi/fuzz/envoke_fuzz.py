"""What Schemathesis cannot know of Envoke: code that loads, and whose a 5xx is."""

import schemathesis

# Functions that answer what they get, so that more than the parser is reached.
CODE = {"nodejs": "return event.params", "python": "result = params"}

# The codes that a caller's code may bring about, by their status.
OF_FUNCTIONS = {500: "RUNTIME_ERROR", 504: "TIMEOUT", 507: "RESOURCE_EXHAUSTED"}


@schemathesis.hook
def map_case(ctx, case):
    """Puts code that loads in place of random text, of which none does."""
    body = case.body
    if isinstance(body, dict) and isinstance(body.get("script_content"), str):
        title = body.get("language") or (case.headers or {}).get("Language-Title")
        language = str(title).split("-")[0]
        if language in CODE and len(body["script_content"]) % 2:
            body["script_content"] = CODE[language]
    return case


@schemathesis.check
def server_error_has_a_cause(ctx, response, case):
    """A 5xx is the function's failure: an installation that is well has no other."""
    if response.status_code < 500 or case.method.upper() == "HEAD":  # which has no body
        return
    error = response.json()["error"]
    if error["message"].endswith(" runtime is configured here"):  # a language that is not served
        return
    assert error["code"] == OF_FUNCTIONS.get(response.status_code), error
    assert error["details"]["component"] == "function", error
