"""A RabbitMQ node of one's own: its files, name, ports and port mapper are its own, and all of it is on loopback."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType

import pika
import psutil
from pika.exceptions import AMQPError

from queues.rabbitmq.partitions import DECLARED, queue_names
from tests.support.ports import free_port
from tests.support.required import absent

SERVER = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")  # not the one in sbin, which changes the user
STARTS_WITHIN_S = 90


class PrivateRabbit:
    """One node. What it was told to keep is on disk, so it outlives being killed."""

    def __init__(self) -> None:
        epmd = shutil.which("epmd")
        if not SERVER.exists() or epmd is None:
            absent("rabbitmq-server")
        self._epmd_program = epmd
        self._dir = Path(tempfile.mkdtemp(prefix="rabbit-"))
        self.port, self.tls_port, self._dist_port, self._epmd_port = (free_port() for _ in range(4))
        self._certify()
        self._epmd: subprocess.Popen[bytes] | None = None
        self._node: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.port}"

    @property
    def certificate(self) -> Path:
        """Its certificate for TLS clients: self-made, so a client does not trust it unless told to."""
        return self._dir / "certificate.pem"

    @property
    def pid(self) -> int:
        """The node's own process; what we started is a script that waits for it."""
        assert self._node is not None
        (node,) = [one for one in psutil.Process(self._node.pid).children(recursive=True) if one.name() == "beam.smp"]
        return node.pid

    @property
    def _env(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self._dir),
            "LC_ALL": "C.UTF-8",
            "RABBITMQ_NODENAME": f"headrace{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self._dist_port),
            "RABBITMQ_MNESIA_BASE": str(self._dir / "mnesia"),
            "RABBITMQ_LOG_BASE": str(self._dir / "log"),
            "RABBITMQ_SCHEMA_DIR": str(self._dir / "schema"),
            "RABBITMQ_GENERATED_CONFIG_DIR": str(self._dir / "config"),
            "RABBITMQ_CONFIG_FILE": str(self._dir / "rabbitmq"),
            "RABBITMQ_CONF_ENV_FILE": str(self._dir / "none"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self._dir / "plugins"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1} +S 2:2 +sbwt none",
            "ERL_CRASH_DUMP": str(self._dir / "erl_crash.dump"),
            "ERL_EPMD_PORT": str(self._epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
        }

    def start(self) -> None:
        env = self._env
        if self._epmd is None:
            self._epmd = subprocess.Popen(
                [self._epmd_program, "-port", str(self._epmd_port), "-address", "127.0.0.1"], env=env
            )
        with (self._dir / "out").open("ab") as out:
            # in its own directory, where it also leaves its dumps
            self._node = subprocess.Popen(
                [SERVER], cwd=self._dir, env=env, stdout=out, stderr=out, start_new_session=True
            )
        deadline = time.monotonic() + STARTS_WITHIN_S
        while not self._answers():
            assert self._node.poll() is None, (self._dir / "out").read_text()[-2000:]
            assert time.monotonic() < deadline, "the node did not come up"
            time.sleep(0.1)

    def kill(self) -> None:
        """As a lost machine would end it."""
        if self._node is not None:
            os.killpg(self._node.pid, signal.SIGKILL)  # the script with the node, in a session of their own
            self._node.wait()
            self._node = None

    def _certify(self) -> None:
        openssl = shutil.which("openssl")
        if openssl is None:
            absent("openssl")
        subprocess.run(
            [
                *(openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
                *("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-days", "2"),
                *("-keyout", str(self._dir / "key.pem"), "-out", str(self.certificate)),
            ],
            check=True,
            capture_output=True,
            timeout=60,
        )
        (self._dir / "rabbitmq.conf").write_text(
            f"listeners.ssl.1 = 127.0.0.1:{self.tls_port}\n"
            f"ssl_options.certfile = {self.certificate}\n"
            f"ssl_options.keyfile = {self._dir / 'key.pem'}\n"
            "ssl_options.verify = verify_none\n",
            encoding="utf-8",
        )

    def connect(self) -> pika.BlockingConnection:
        return pika.BlockingConnection(pika.URLParameters(self.url))

    def wipe(self, lanes: list[str]) -> None:
        """Delete every queue of these lanes, as an operator with the management page could."""
        with self.connect() as connection:
            channel = connection.channel()
            for lane in lanes:
                for name in queue_names(lane):
                    channel.queue_delete(name)

    def settle(self, lanes: list[str]) -> None:
        """Declare every queue anew and wait until the node has their names on disk.

        One node that is killed before that knows the queue, when it is back, and never answers for it: mending it takes
        the wire ten seconds, which not every test need spend.
        """
        self.wipe(lanes)
        with self.connect() as connection:
            channel = connection.channel()
            for lane in lanes:
                for name in queue_names(lane):
                    channel.queue_declare(name, durable=True, arguments=DECLARED)
        declared = time.time()
        deadline = time.monotonic() + 20
        while not any(file.stat().st_mtime >= declared for file in self._dir.rglob("names.dets")):
            assert time.monotonic() < deadline, "the node does not write down the names of its queues"
            time.sleep(0.05)

    def _answers(self) -> bool:
        try:
            self.connect().close()
        except (AMQPError, OSError):
            return False
        return True

    def __enter__(self) -> PrivateRabbit:
        try:
            self.start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        if self._epmd is not None:
            self._epmd.kill()
            self._epmd.wait()
        shutil.rmtree(self._dir, ignore_errors=True)
