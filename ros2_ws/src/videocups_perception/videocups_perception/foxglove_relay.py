"""Topics relayed to the Foxglove app over WebSocket, byte for byte: CDR in, CDR out, nothing decoded."""

from __future__ import annotations

import foxglove
from foxglove import Channel, Context, Schema

from videocups_perception.message_definitions import full_definition


class FoxgloveRelay:
    """A WebSocket server with one channel a topic."""

    def __init__(self, name: str, host: str, port: int) -> None:
        self._context = Context()
        try:
            self._server = foxglove.start_server(name=name, host=host, port=port, context=self._context)
        except Exception as error:  # the library raises RuntimeError for whatever the socket said
            raise OSError(
                f"cannot serve Foxglove at {host}:{port} ({error}); choose another one with -p foxglove_port:=… "
                "(-1 = no Foxglove server)"
            ) from error
        self.port = int(self._server.port)
        self._channels: dict[str, Channel] = {}

    def advertise(self, topic: str, type_name: str) -> None:
        """Offer ``topic``, a ``package/msg/Name``."""
        definition = full_definition(type_name).encode()
        schema = Schema(name=type_name, encoding="ros2msg", data=definition)
        self._channels[topic] = Channel(topic, schema=schema, message_encoding="cdr", context=self._context)

    def wanted(self, topic: str) -> bool:
        """Say whether anybody has subscribed to ``topic``."""
        return self._channels[topic].has_sinks()

    def relay(self, topic: str, data: bytes, log_time_ns: int) -> None:
        """Send one serialised message."""
        self._channels[topic].log(data, log_time=log_time_ns)

    def close(self) -> None:
        """Disconnect everybody and stop."""
        self._server.stop()
