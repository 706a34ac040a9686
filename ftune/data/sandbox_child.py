"""The process that renders templates that others wrote, apart from everything worth attacking.

A program of its own: it imports jinja2 and the standard library only, and answers one line of JSON
on its output for each line on its input. A chat template gets what transformers offers to it,
except for what would make the same conversation render differently another day: the time
(``strftime_now``) and chance (the filter ``random``, the global ``lipsum``). Prompt templates get
what promptsource offers to them, with a ``choice`` that follows from the request.
"""

import hashlib
import json
import sys

MEMORY = 1 << 30  # bytes of address space
LONGEST = 100_000_000  # characters of a rendered text
GENERATION = ("\ue0b1\ue0b7", "\ue0b7\ue0b1")  # stand round what {% generation %} blocks write
BAR, WRITTEN_BAR = "|||", "\ue0b2\ue0b2\ue0b2"  # between the parts of a prompt; one in a row's text


def limit_memory() -> None:
    """Bounds the memory of this process, where the system can."""
    try:
        import resource
    except ImportError:  # not there on Windows; the time limit still holds
        return
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


def stop_after(seconds: float) -> None:
    """Ends this process if it goes on so long; 0 for never. For when nobody waits any more."""
    import signal

    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, seconds)


def environment():  # type: ignore[no-untyped-def]
    """A sandbox with what chat templates expect."""
    from jinja2 import nodes
    from jinja2.exceptions import SecurityError, TemplateError
    from jinja2.ext import Extension
    from jinja2.sandbox import ImmutableSandboxedEnvironment
    from jinja2.utils import Namespace

    class Generation(Extension):
        """``{% generation %}``: what is written in it is the assistant's own."""

        tags = {"generation"}

        def parse(self, parser):  # type: ignore[no-untyped-def]
            line = next(parser.stream).lineno
            body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            return nodes.CallBlock(self.call_method("_mark"), [], [], body).set_lineno(line)

        def _mark(self, caller):  # type: ignore[no-untyped-def]
            return GENERATION[0] + caller() + GENERATION[1]

    class Dictionary:
        """``dict`` without the attributes of a type."""

        def __call__(self, *pairs, **more):  # type: ignore[no-untyped-def]
            return dict(*pairs, **more)

    class SafeNamespace(Namespace):  # type: ignore[misc, valid-type]
        """``namespace`` that takes no name of Python's own."""

        def __init__(*given, **more):  # type: ignore[no-untyped-def]
            checked(dict(*given[1:], **more))
            Namespace.__init__(*given, **more)

        def __setitem__(self, name, value):  # type: ignore[no-untyped-def]
            checked({name: value})
            Namespace.__setitem__(self, name, value)

    def checked(names):  # type: ignore[no-untyped-def]
        if any(str(name).startswith("_") for name in names):
            raise SecurityError("a namespace takes no name that begins with an underscore")

    def raise_exception(message):  # type: ignore[no-untyped-def]
        raise TemplateError(message)

    def tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):  # type: ignore[no-untyped-def]
        return json.dumps(
            value, ensure_ascii=ensure_ascii, indent=indent, separators=separators,
            sort_keys=sort_keys,
        )  # fmt: skip

    found = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, "jinja2.ext.loopcontrols"]
    )
    found.filters["tojson"] = tojson
    found.globals |= {
        "raise_exception": raise_exception, "dict": Dictionary(), "namespace": SafeNamespace,
    }  # fmt: skip
    del found.filters["random"], found.globals["lipsum"]
    return found


class Prompts:
    """A set of prompt templates: each is one text with ``|||`` in it, or an input and a target."""

    def __init__(self, written):  # type: ignore[no-untyped-def]
        """Compiles them."""
        from jinja2 import StrictUndefined
        from jinja2.sandbox import ImmutableSandboxedEnvironment
        from jinja2.utils import pass_context

        self.chance = Chance("")

        @pass_context  # else it would be drawn once, when a template is compiled
        def choice(_, items):  # type: ignore[no-untyped-def]
            return self.chance.one_of(list(items))

        found = ImmutableSandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=True)
        found.globals["zip"] = zip
        found.filters |= {
            "choice": choice, "most_frequent": most_frequent, "regex_replace": regex_replace,
        }  # fmt: skip
        del found.filters["random"], found.globals["lipsum"]
        self.parts, self.choices = {}, {}
        for name, prompt in written.items():
            try:
                self.parts[name] = [found.from_string(text) for text in prompt["parts"]]
                if prompt["choices"]:
                    self.choices[name] = found.from_string(prompt["choices"])
            except Exception as error:
                raise ValueError(f"{name}: {type(error).__name__}: {error}") from error

    def write(self, request):  # type: ignore[no-untyped-def]
        """The parts of a row's prompt, and its answer choices."""
        name, row = request["name"], guarded(request["row"])
        self.chance = Chance(request["chance"])
        choices = None
        if name in self.choices:
            text = bounded(self.choices[name].render(**row))
            choices = Choices(part.strip() for part in text.split(BAR))
        parts = [bounded(part.render(**row, answer_choices=choices)) for part in self.parts[name]]
        if len(parts) == 1:
            parts = [part.strip() for part in parts[0].split(BAR)]
        return {
            "parts": [bared(part) for part in parts],
            "choices": [bared(one) for one in choices or ()],
        }


class Choices(list):  # type: ignore[type-arg]
    """Answer choices by number, which may be text; -1 stands for an unknown label, never the last.

    A hidden label would else become the last choice.
    """

    def __getitem__(self, at):  # type: ignore[no-untyped-def]
        if isinstance(at, str) and at.strip().isdecimal():
            at = int(at)
        if isinstance(at, int) and at < 0:
            raise IndexError(at)
        return list.__getitem__(self, at)


class Chance:
    """Draws that follow from a key."""

    def __init__(self, key):  # type: ignore[no-untyped-def]
        self.key, self.count = key, 0

    def one_of(self, items):  # type: ignore[no-untyped-def]
        """One of the items."""
        self.count += 1
        drawn = hashlib.blake2b(f"{self.count} {self.key}".encode(), digest_size=8).digest()
        return items[int.from_bytes(drawn, "big") * len(items) >> 64]


def most_frequent(items):  # type: ignore[no-untyped-def]
    """Those of the items that are there most often, each once, in their order."""
    items = list(items)
    most = max(map(items.count, items), default=0)
    return list(dict.fromkeys(one for one in items if items.count(one) == most))


def regex_replace(text, pattern, by=""):  # type: ignore[no-untyped-def]
    """The text with all that a regular expression matches replaced."""
    import re

    return re.sub(pattern, by, text)


def guarded(value):  # type: ignore[no-untyped-def]
    """A row's value in which no text holds the mark between parts."""
    if isinstance(value, str):
        return value.replace(BAR, WRITTEN_BAR)
    if isinstance(value, dict):
        return {key: guarded(inner) for key, inner in value.items()}
    return [guarded(inner) for inner in value] if isinstance(value, list) else value


def bared(text):  # type: ignore[no-untyped-def]
    """The text with the marks that the row had."""
    return text.replace(WRITTEN_BAR, BAR)


def bounded(text):  # type: ignore[no-untyped-def]
    """The text, if it is not too long."""
    if len(text) > LONGEST:
        raise MemoryError
    return text


def chat(template, given):  # type: ignore[no-untyped-def]
    """What renders a request of a chat template."""

    def write(request):  # type: ignore[no-untyped-def]
        text = template.render(
            messages=request["messages"], tools=None, documents=None,
            add_generation_prompt=request["ask"], **given,
        )  # fmt: skip
        return {"text": text}

    return write


def answer(write, request):  # type: ignore[no-untyped-def]
    """What a request is answered with, or why there is nothing."""
    from jinja2.exceptions import SecurityError, TemplateError

    try:
        said = write(request)
    except SecurityError as error:
        return {"error": "security", "message": str(error)}
    except MemoryError:
        return {"error": "size", "message": f"it takes more than {MEMORY >> 20} MB of memory"}
    except TemplateError as error:
        return {"error": "refused", "message": str(error)}
    except Exception as error:  # a template can raise what its expressions raise
        return {"error": "refused", "message": f"{type(error).__name__}: {error}"}
    if len(said.get("text", "")) > LONGEST:
        return {"error": "size", "message": f"it writes more than {LONGEST} characters"}
    return said


def main() -> None:
    """Says that it is there, reads the template, then requests until the input ends."""
    limit_memory()
    sandbox = environment()
    _say({"up": "yes"})
    start = json.loads(sys.stdin.readline())
    stop_after(start["seconds"])
    try:
        if "prompts" in start:
            write = Prompts(start["prompts"]).write
        else:
            write = chat(sandbox.from_string(start["template"]), start["given"])
    except ValueError as error:
        _say({"error": "syntax", "message": str(error)})
        return
    except Exception as error:  # of the template's syntax, or from compiling it
        _say({"error": "syntax", "message": f"{type(error).__name__}: {error}"})
        return
    _say({"ready": "yes"})
    stop_after(0)
    for line in sys.stdin:
        stop_after(start["seconds"])
        _say(answer(write, json.loads(line)))
        stop_after(0)


def _say(what):  # type: ignore[no-untyped-def]
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
