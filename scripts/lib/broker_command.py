"""The command line of `scripts/kafka` and `scripts/pulsar`, which know brokers by name."""

import argparse
import json
import pathlib
import shutil

import cache
from java_broker import JavaBroker
from kept_process import ServerError
from report import UserError, say


class BrokerCommand:
    """Commands about brokers of one kind."""

    def __init__(self, kind: type[JavaBroker], about: str, settings: str, seconds: int):
        self._kind = kind
        self._about = about
        self._settings = settings
        self._seconds = seconds
        self._script = f"scripts/{kind.NAME}"

    def run(self) -> int:
        options = self._parser().parse_args()
        try:
            self._obey(options)
        except ServerError as error:
            raise UserError(str(error)) from error
        return 0

    def _obey(self, options) -> None:
        name = options.name
        if options.command == "start":
            self._show(self._start(options), options.json)
        elif options.command == "stop":
            self._load(name).stop(kill=options.kill)
        elif options.command == "restart":
            self._show(self._load(name).restart(), options.json)
        elif options.command == "status":
            self._show(self._load(name), options.json)
        else:
            self._load(name).stop()
            shutil.rmtree(self._folder(name))

    def _folder(self, name: str) -> pathlib.Path:
        if not name.replace("-", "").replace("_", "").isalnum():
            raise UserError(f"a broker's name has letters, digits, - and _ only, not {name!r}")
        kind = self._kind.NAME
        return cache.root() / "brokers" / (name if kind == "kafka" else f"{kind}-{name}")

    def _load(self, name: str) -> JavaBroker:
        if not (self._folder(name) / "broker.json").exists():
            raise UserError(f"there is no broker {name}: {self._script} start {name}")
        return self._kind.load(self._folder(name))

    def _start(self, options) -> JavaBroker:
        settings = _settings_of(options)
        if (self._folder(options.name) / "broker.json").exists():
            broker = self._load(options.name)
            if broker.is_running():
                return broker
            if settings:
                raise UserError(
                    f"broker {options.name} was made before with its own settings: {self._script} remove {options.name}"
                )
        else:
            more = {"token": True} if getattr(options, "token", False) else {}
            broker = self._kind(self._folder(options.name), settings=settings, outlive=True, **more)
        say(f"starting {options.name}")
        return broker.start()

    def _show(self, broker: JavaBroker, as_json: bool) -> None:
        described = broker.describe()
        if as_json:
            print(json.dumps(described))
            return
        for key, value in described.items():
            print(f"{key:18} {value}")

    def _parser(self) -> argparse.ArgumentParser:
        top = argparse.ArgumentParser(description=self._about, formatter_class=argparse.RawDescriptionHelpFormatter)
        commands = top.add_subparsers(dest="command", required=True)

        def command(word: str, about: str) -> argparse.ArgumentParser:
            one = commands.add_parser(word, help=about, description=about)
            one.add_argument("name", metavar="NAME")
            one.add_argument("--json", action="store_true", help="answer one line of JSON")
            return one

        new = command("start", f"start a broker and wait until it answers (about {self._seconds} s)")
        new.add_argument("--set", action="append", metavar="key=value", help=f"any key of {self._settings}")
        if self._kind.NAME == "pulsar":
            new.add_argument("--token", action="store_true", help="it wants a token from everybody")
        command("stop", "stop a broker and wait until it is gone").add_argument(
            "--kill", action="store_true", help="kill -9"
        )
        command("restart", "stop and start with the same ports and topics")
        command("status", "all about one broker")
        command("remove", "stop a broker and delete its folder")
        return top


def _settings_of(options) -> dict:
    settings = {}
    for text in options.set or []:
        key, equals, value = text.partition("=")
        if not equals:
            raise UserError(f"--set wants key=value, not {text!r}")
        settings[key] = value
    return settings
