"""Requests to an MLflow server over its REST API: bounded in time, and translated errors.

MLflow's own client takes logins and limits from variables of the whole process, tries for minutes, and takes
seconds to import. What the registry asks of a server is a dozen documented calls, so they are made here, and
a process that only reads versions of a server needs no MLflow at all.

https://mlflow.org/docs/latest/rest-api.html
"""

from __future__ import annotations

import threading
from typing import Any

from alphaloop.clock import boot_time, sleep
from alphaloop.errors import SettingsError, VendorError
from models.registry.server_login import ServerLogin

CONNECT_SECONDS = 3.0
"""Seconds that a connection may take."""
READ_SECONDS = 8.0
"""Seconds that an answer of the server may take to begin."""
FILE_SECONDS = 60.0
"""Seconds between two pieces of a file."""
MAX_TRIES, MAX_SECONDS = 3, 8.0
"""Bounds of one call: how often it is sent, and after how many seconds it is not sent again."""
FIRST_PAUSE_SECONDS = 0.1
AWAY_SECONDS = 2.0
"""Seconds after a failure in which the server is not asked again."""
BUSY_STATUSES = frozenset({429, 502, 503, 504})
"""Statuses of a server, or of a proxy before it, that may answer if it is asked again."""
API = "/api/2.0/mlflow/"
FILES = "/api/2.0/mlflow-artifacts/artifacts/"


class RegistryAwayError(VendorError):
    """A registry server that does not answer; what is cached can still be read."""


class RefusedCallError(VendorError):
    """A call that the server answered with an error; `code` is MLflow's code of it."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code


class ServerConnection:
    """Calls of one MLflow server.

    Parameters
    ----------
    uri : str
        Address of the server, without a slash at its end.
    login : ServerLogin
        The login there.
    """

    def __init__(self, uri: str, login: ServerLogin) -> None:
        self.uri = uri
        self._login = login
        self._local = threading.local()
        self._away: tuple[float, RegistryAwayError] | None = None

    def get(self, endpoint: str, **parameters: Any) -> dict[str, Any]:
        """Ask, and ask again while the server is busy or away.

        Raises
        ------
        RegistryAwayError
            Where the server did not answer.
        RefusedCallError
            Where it answered with an error of MLflow's.
        SettingsError
            Where it refused the login, or is no MLflow server.
        """
        return self._json(self._repeated("GET", API + endpoint, params=parameters))

    def post(self, endpoint: str, *, method: str = "POST", **body: Any) -> dict[str, Any]:
        """Ask for a change, once; errors are those of `get`."""
        return self._json(self._send(method, API + endpoint, remember=False, json=body))

    def upload(self, path: str, content: bytes) -> None:
        """Store a file under the artifacts of the server; errors are those of `get`."""
        self._checked(self._repeated("PUT", FILES + path, data=content, seconds=FILE_SECONDS))

    def download(self, path: str) -> bytes:
        """Return a file of the artifacts of the server; errors are those of `get`."""
        content: bytes = self._checked(self._repeated("GET", FILES + path, seconds=FILE_SECONDS)).content
        return content

    def _repeated(self, method: str, path: str, **request: Any) -> Any:
        """Send a request that may be sent twice, and return the answer."""
        began, pause, tries = boot_time(), FIRST_PAUSE_SECONDS, 0
        while True:
            tries += 1
            is_last = tries == MAX_TRIES or boot_time() - began + pause >= MAX_SECONDS
            try:
                answer = self._send(method, path, remember=is_last, **request)
            except RegistryAwayError:
                if is_last or self._is_resting():
                    raise
            else:
                if is_last or answer.status_code not in BUSY_STATUSES:
                    return answer
            sleep(pause)
            pause *= 3

    def _send(
        self, method: str, path: str, *, remember: bool = True, seconds: float = READ_SECONDS, **request: Any
    ) -> Any:
        import requests

        if self._away is not None:
            until, error = self._away
            if boot_time() < until:
                raise RegistryAwayError(str(error)) from error
        try:
            answer = self._session().request(
                method, self.uri + path, timeout=(CONNECT_SECONDS, seconds), allow_redirects=False, **request
            )
        except (requests.RequestException, OSError) as error:
            away = RegistryAwayError(
                f"the MLflow server {self.uri} does not answer ({_reason(error)}); start it, or set "
                "registry.uri to where it is"
            )
            if remember:
                self._away = boot_time() + AWAY_SECONDS, away
            raise away from None
        self._away = None
        return answer

    def _is_resting(self) -> bool:
        return self._away is not None and boot_time() < self._away[0]

    def _session(self) -> Any:
        """Return this thread's session; one of another thread must not be shared."""
        import requests

        session = getattr(self._local, "session", None)
        if session is None:
            session = requests.Session()
            self._login.apply(session)
            self._local.session = session
        return session

    def _json(self, answer: Any) -> dict[str, Any]:
        self._checked(answer)
        try:
            parsed = answer.json()
        except ValueError:
            parsed = None
        if not isinstance(parsed, dict):
            raise SettingsError(f"registry.uri {self.uri} is no MLflow server: it answered no JSON")
        return parsed

    def _checked(self, answer: Any) -> Any:
        """Return an answer that is none of an error's."""
        status = answer.status_code
        if status < 300:
            return answer
        if status in BUSY_STATUSES:
            raise RegistryAwayError(
                f"the MLflow server {self.uri} is busy or down ({status}); wait, or look at its log"
            )
        if status < 400:
            raise SettingsError(
                f"registry.uri {self.uri} leads to {answer.headers.get('Location', 'another address')}; set "
                "registry.uri to that address"
            )
        if status == 401:
            raise SettingsError(
                f"the MLflow server {self.uri} refused the login; set registry.username and "
                "registry.password_file, or registry.token_file"
            )
        code, message = _error_of(answer)
        if status == 403 and not code:
            raise SettingsError(
                f"the MLflow server {self.uri} refuses this client (403); start it with --allowed-hosts that "
                "holds its name and port, or give the user of registry.username the right"
            )
        raise RefusedCallError(f"the MLflow server {self.uri} answered {status}: {message}", code)


def _error_of(answer: Any) -> tuple[str, str]:
    """Return MLflow's code of an error (empty where another program answered), and its message."""
    try:
        fields = answer.json()
        return str(fields["error_code"]), _first_line(str(fields.get("message", "")))
    except (ValueError, KeyError, TypeError):
        return "", _first_line(answer.text[:200])


def _first_line(text: str) -> str:
    return text.strip().splitlines()[0] if text.strip() else "no reason given"


def _reason(error: BaseException) -> str:
    """Describe a failure of the connection in words, without the address that its text repeats."""
    import requests

    if isinstance(error, requests.exceptions.SSLError):
        return "its certificate is not accepted"
    if isinstance(error, requests.Timeout):
        return "no answer in time"
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__cause__ or cause.__context__
    return "the connection broke"
