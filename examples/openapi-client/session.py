"""The life of a session, by a client that nobody wrote: it comes from the document."""

import os
from uuid import UUID

from envoke_client import Client
from envoke_client.api.sessions import delete_session, execute, initialize, show_session
from envoke_client.models import Context, Error, Execute, Initialize, Initialized, Result, Session

CODE = "return event.params.map((price) => price * event.context.rate)"


def main():
    with Client(base_url=os.environ.get("ENVOKE_URL", "http://127.0.0.1:9000")) as client:
        context = Context()
        context["rate"] = 2
        made = initialize.sync(
            client=client, language_title="nodejs-prices", body=Initialize(script_content=CODE, context=context)
        )
        assert isinstance(made, Initialized), made
        print("session", made.request_id, "until", made.expires_at)

        result = execute.sync(made.request_id, client=client, body=Execute(params=[1, 2.5]))
        assert isinstance(result, Result), result
        print("result", result.result, "in", result.execution_time_ms, "ms")
        assert result.result == [2, 5]

        thrown = execute.sync(made.request_id, client=client, body=Execute(params=None))
        assert isinstance(thrown, Error), thrown
        print("error", thrown.error.code, "in line", thrown.error.details.line)

        session = show_session.sync(made.request_id, client=client)
        assert isinstance(session, Session) and session.status == "active", session
        print("read", session.language_title, session.status)

        assert delete_session.sync_detailed(made.request_id, client=client).status_code == 204
        gone = execute.sync_detailed(made.request_id, client=client, body=Execute())
        assert isinstance(made.request_id, UUID) and gone.status_code == 404, gone
        print("deleted")


main()
