"""Read a rosbag2 .db3 file with SQLite, and page by page where the file was cut."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from urllib.parse import quote

from videocups.bags.recording import BagError, Damage, Message, Topic
from videocups.bags.sqlite_salvage import SQLITE_MAGIC, SalvagedDatabase, declared_bytes, salvage


class SqliteStorage:
    """One .db3 file that SQLite can open; see ``Storage``."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.damage = Damage()
        # Without a write-ahead log nobody else writes: immutable needs no lock and no writable folder.
        live = path.with_name(path.name + "-wal").exists()
        self._database = sqlite3.connect(f"file:{quote(str(path))}?{'mode=ro' if live else 'immutable=1'}", uri=True)
        self._database.text_factory = lambda data: str(data, "utf-8", "replace")
        try:
            self._topic_of = self._read_topics()
            self.start_ns, self.last_ns = self._time("MIN"), self._time("MAX")
        except BaseException:
            self._database.close()
            raise
        self.topics = tuple(self._topic_of.values())

    def counts(self) -> dict[str, int]:
        """Count the messages of every topic; reads every row's head."""
        try:
            found = dict(self._database.execute("SELECT topic_id, COUNT(*) FROM messages GROUP BY topic_id"))
        except sqlite3.DatabaseError as error:
            self.damage.add(f"the message table of {self.path.name} cannot be read to its end: {error}")
            return SalvagedStorage(self.path).counts()
        return {topic.name: found.get(topic_id, 0) for topic_id, topic in self._topic_of.items()}

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    def messages(
        self, topics: Collection[str], start_ns: int | None = None, stop_ns: int | None = None
    ) -> Iterator[Message]:
        """Yield messages of the named topics in [start_ns, stop_ns) by log time, through the time index."""
        wanted = [topic_id for topic_id, topic in self._topic_of.items() if topic.name in topics]
        clauses = [f"topic_id IN ({','.join('?' * len(wanted))})"]
        values: list[int] = list(wanted)
        if start_ns is not None:
            clauses.append("timestamp >= ?")
            values.append(start_ns)
        if stop_ns is not None:
            clauses.append("timestamp < ?")
            values.append(stop_ns)
        # Rows first and data one by one: a sort never holds images, and one unreadable image costs only itself.
        query = f"SELECT id, topic_id, timestamp FROM messages WHERE {' AND '.join(clauses)} ORDER BY timestamp, id"
        seen: set[tuple[int, str]] = set()
        try:
            for row_id, topic_id, log_ns in self._database.execute(query, values):
                if (data := self._data(row_id)) is not None and topic_id in self._topic_of:
                    message = Message(self._topic_of[topic_id], log_ns, data)
                    seen.add((log_ns, message.topic.name))
                    yield message
        except sqlite3.DatabaseError as error:
            self.damage.add(f"the message table of {self.path.name} cannot be read to its end: {error}")
            # Rows behind the damage can still be found page by page.
            for message in SalvagedStorage(self.path).messages(topics, start_ns, stop_ns):
                if (message.log_ns, message.topic.name) not in seen:
                    yield message

    def _data(self, row_id: int) -> bytes | None:
        try:
            (data,) = self._database.execute("SELECT data FROM messages WHERE id = ?", (row_id,)).fetchone()
        except (sqlite3.DatabaseError, TypeError) as error:
            self.damage.add(f"messages of {self.path.name} cannot be read: {error}")
            return None
        return data if isinstance(data, bytes) else None

    def _time(self, function: str) -> int | None:
        (value,) = self._database.execute(f"SELECT {function}(timestamp) FROM messages").fetchone()
        return None if value is None else int(value)

    def _read_topics(self) -> dict[int, Topic]:
        tables = {row[0] for row in self._database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if not {"topics", "messages"} <= tables:
            raise BagError(f"{self.path} is no rosbag2 database: it has no tables 'topics' and 'messages'")
        columns = [row[1] for row in self._database.execute("PRAGMA table_info(topics)")]
        definitions: dict[str, tuple[str, str]] = {}
        if "message_definitions" in tables:  # since schema version 4
            query = "SELECT topic_type, encoding, encoded_message_definition FROM message_definitions"
            definitions = {name: (encoding, text) for name, encoding, text in self._database.execute(query)}
        rows = self._database.execute(f"SELECT {', '.join(columns)} FROM topics ORDER BY id")
        named = (dict(zip(columns, row, strict=True)) for row in rows)
        return {row["id"]: _topic(row, definitions) for row in named}


class SalvagedStorage:
    """A .db3 file that was cut or damaged: its whole messages, found page by page; see ``Storage``."""

    def __init__(self, path: Path, what: str = "ends early (the recorder was stopped or the file was cut)") -> None:
        self.path = path
        self.damage = Damage([f"{path.name} {what}"])
        self._database: SalvagedDatabase = salvage(path)
        if not self._database.topics:
            raise BagError(f"{path} {what} and no topic is left; nothing can be recovered")
        self._count_of = Counter(message.topic_id for message in self._database.messages)
        names = ["id", "name", "type", "serialization_format", "offered_qos_profiles", "type_description_hash"]
        rows = [dict(zip(names, row, strict=False)) for row in self._database.topics]
        self._topic_of = {int(row["id"] or 0): _topic(row, self._database.definitions) for row in rows}
        for topic_id in set(self._count_of) - set(self._topic_of):
            self.damage.add(f"{self._count_of[topic_id]} messages have no topic: its description is lost")
        self.topics = tuple(self._topic_of.values())
        times = [message.log_ns for message in self._database.messages if message.topic_id in self._topic_of]
        self.start_ns, self.last_ns = min(times, default=None), max(times, default=None)

    def counts(self) -> dict[str, int]:
        """Count the whole messages of every topic."""
        return {topic.name: self._count_of[topic_id] for topic_id, topic in self._topic_of.items()}

    def close(self) -> None:
        """Nothing stays open."""

    def messages(
        self, topics: Collection[str], start_ns: int | None = None, stop_ns: int | None = None
    ) -> Iterator[Message]:
        """Yield the whole messages of the named topics in [start_ns, stop_ns) by log time."""
        with self.path.open("rb") as file:
            for found in self._database.messages:
                topic = self._topic_of.get(found.topic_id)
                early = start_ns is not None and found.log_ns < start_ns
                late = stop_ns is not None and found.log_ns >= stop_ns
                if topic and topic.name in topics and not early and not late:
                    yield Message(topic, found.log_ns, found.read(file))


def open_sqlite(path: Path) -> SqliteStorage | SalvagedStorage:
    """Open a .db3 file, salvaging it when it is shorter than it says or SQLite calls it malformed."""
    with path.open("rb") as file:
        head = file.read(100)
    if len(head) < 100 or not head.startswith(SQLITE_MAGIC):
        raise BagError(f"{path} is no SQLite database (wrong first bytes); check the path or record it again")
    if declared_bytes(head) > path.stat().st_size:
        return SalvagedStorage(path)
    try:
        return SqliteStorage(path)
    except (sqlite3.DatabaseError, UnicodeDecodeError, KeyError, TypeError):  # the schema itself may be damaged
        return SalvagedStorage(path, "is damaged")


def _topic(row: Mapping[str, object], definitions: dict[str, tuple[str, str]]) -> Topic:
    msgtype = str(row["type"])
    encoding, text = definitions.get(msgtype, ("", ""))
    return Topic(
        name=str(row["name"]),
        msgtype=msgtype,
        serialization=str(row["serialization_format"]),
        definition=text,
        definition_format=encoding,
        digest=str(row.get("type_description_hash") or ""),
        qos=str(row.get("offered_qos_profiles") or ""),
    )
