"""The process that renders a model's own chat template, apart from everything worth attacking.

A program of its own: it imports jinja2 and the standard library only, and answers one line of JSON
on its output for each line on its input. It offers what transformers offers to chat templates,
except for what would make the same conversation render differently another day: the time
(``strftime_now``) and chance (the filter ``random``, the global ``lipsum``).
"""

import json
import sys

MEMORY = 1 << 30  # bytes of address space
LONGEST = 100_000_000  # characters of a rendered text
GENERATION = ("\ue0b1\ue0b7", "\ue0b7\ue0b1")  # stand round what {% generation %} blocks write


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


def answer(template, request, given):  # type: ignore[no-untyped-def]
    """The rendered text of a request, or why there is none."""
    from jinja2.exceptions import SecurityError, TemplateError

    try:
        text = template.render(
            messages=request["messages"], tools=None, documents=None,
            add_generation_prompt=request["ask"], **given,
        )  # fmt: skip
    except SecurityError as error:
        return {"error": "security", "message": str(error)}
    except MemoryError:
        return {"error": "size", "message": f"it takes more than {MEMORY >> 20} MB of memory"}
    except TemplateError as error:
        return {"error": "refused", "message": str(error)}
    except Exception as error:  # a template can raise what its expressions raise
        return {"error": "refused", "message": f"{type(error).__name__}: {error}"}
    if len(text) > LONGEST:
        return {"error": "size", "message": f"it writes more than {LONGEST} characters"}
    return {"text": text}


def main() -> None:
    """Says that it is there, reads the template, then requests until the input ends."""
    limit_memory()
    sandbox = environment()
    _say({"up": "yes"})
    start = json.loads(sys.stdin.readline())
    stop_after(start["seconds"])
    try:
        template = sandbox.from_string(start["template"])
    except Exception as error:  # of the template's syntax, or from compiling it
        _say({"error": "syntax", "message": f"{type(error).__name__}: {error}"})
        return
    _say({"ready": "yes"})
    stop_after(0)
    for line in sys.stdin:
        stop_after(start["seconds"])
        _say(answer(template, json.loads(line), start["given"]))
        stop_after(0)


def _say(what):  # type: ignore[no-untyped-def]
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
