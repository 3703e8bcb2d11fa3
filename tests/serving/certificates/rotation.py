"""Certificates of two authorities, before and after, as files that are replaced."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import trustme

from serving.client.replica import ClientSecurity


class Party:
    """A server or client with a certificate of `authority`."""

    def __init__(self, authority: trustme.CA) -> None:
        leaf = authority.issue_cert("127.0.0.1")
        self.key = leaf.private_key_pem.bytes()
        self.chain = b"".join(blob.bytes() for blob in leaf.cert_chain_pems)

    def secret(self, *authorities: trustme.CA) -> dict[str, bytes]:
        """What a mounted secret has of it, with the authorities of the other side."""
        trusted = b"".join(one.cert_pem.bytes() for one in authorities)
        return {"tls.crt": self.chain, "tls.key": self.key, "ca.crt": trusted}


class Mounted:
    """A secret as Kubernetes mounts it: links into a folder that is itself a link, which is swapped."""

    def __init__(self, folder: Path, contents: dict[str, bytes]) -> None:
        self.folder, self._version = folder, 0
        folder.mkdir()
        for name in contents:
            (folder / name).symlink_to(f"..data/{name}")
        self.chain, self.key, self.authority = (folder / name for name in ("tls.crt", "tls.key", "ca.crt"))
        self.replace(contents)

    def replace(self, contents: dict[str, bytes]) -> None:
        """Swap the link, and remove what it led to."""
        data, link = self.folder / "..data", self.folder / "..data_new"
        before = data.resolve() if data.exists() else None
        self._version += 1
        version = self.folder / f"..version-{self._version}"
        version.mkdir()
        for name, content in contents.items():
            (version / name).write_bytes(content)
        link.symlink_to(version.name)
        os.replace(link, data)
        if before is not None:
            shutil.rmtree(before)

    def security(self) -> ClientSecurity:
        """Of a client that has this secret."""
        return ClientSecurity(self.authority, self.chain, self.key)


class Rotation:
    """Two authorities, before and after, and what each side has of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.before, self.after = trustme.CA(), trustme.CA()
        self.old, self.new = Party(self.before), Party(self.after)
        self.server = Mounted(folder / "server", self.old.secret(self.before))
        self.old_party, self.new_party = Party(self.before), Party(self.after)
        self.old_client = Mounted(folder / "old", self.old_party.secret(self.before, self.after))
        self.new_client = Mounted(folder / "new", self.new_party.secret(self.before, self.after))

    def client(self, when: str) -> dict[str, bytes]:
        """A secret of a client `before` or `after`, with a certificate of its own, that trusts no other."""
        authority = self.before if when == "before" else self.after
        return Party(authority).secret(authority)
