"""Chat templates that attack, don't end, or don't say the same twice."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "contract"))
from chat_families import CHATML, tokenizer

from ftune.data import sandbox
from ftune.data.sandbox import Sandbox
from ftune.data.templating import load_template
from ftune.errors import DataError, ModelError
from ftune.types import Message

ASK = [{"role": "user", "content": "q"}]
BODY = "{% for m in messages %}{{ m.content }}{{ eos_token }}{% endfor %}"
ATTACKS = {
    "classes": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "globals": "{{ raise_exception.__globals__['__builtins__'] }}",
    "lipsum": "{{ lipsum.__globals__['os'].system('touch CANARY') }}",
    "cycler": "{{ cycler.__init__.__globals__.os.popen('touch CANARY').read() }}",
    "attr": "{{ ''|attr('__class__') }}",
    "format": "{{ '{0.__class__.__init__.__globals__}'.format(messages) }}",
    "format_map": "{{ '{x.__class__}'.format_map({'x': 1}) }}",
    "namespace": "{% set n = namespace() %}{% set n.__class__ = 1 %}{{ n }}",
    "dict": "{{ dict.__init__.__globals__ }}",
    "messages": "{{ messages.append({'role': 'user', 'content': 'x'}) }}",
    "caller": "{% macro x() %}{{ caller.__func__ }}{% endmacro %}{% call x() %}{% endcall %}",
    "open": "{{ open('/etc/passwd') }}",
    "include": "{% include '/etc/passwd' %}",
    "import": "{% import 'os' as os %}{{ os.system('touch CANARY') }}",
}
ENDLESS = {
    "loops": "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "power": "{% set n = messages|length + 7 %}{{ n ** (n ** n) }}",
    "power of text": "{{ 'x' * 10 ** 11 }}",
    "padding": "{{ '%99999999999d' % 1 }}",
    "doubling": "{% set n = namespace(x='xx') %}{% for i in range(60) %}"
    "{% set n.x = n.x + n.x %}{% endfor %}{{ n.x }}",
    "recursion": "{% macro f() %}{{ f() }}{{ f() }}{% endmacro %}{{ f() }}",
    "constant": "{% set x = 9 ** (9 ** 9) %}",  # folded when the template is compiled
}


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_reaches_nothing(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = tokenizer("bytes", template=ATTACKS[name] + BODY)
    try:
        template = load_template("tokenizer", words)
        turns = (Message("user", "q"), Message("assistant", "a"))
        text = "".join(s.text for s in template.segments(turns))
    except (ModelError, DataError) as error:
        text = str(error)
        assert "data.template" in text
    assert list(tmp_path.iterdir()) == []
    for leaked in ("builtins", "subprocess", "<module", "root:"):
        assert leaked not in text


@pytest.mark.parametrize("name", ENDLESS)
def test_what_does_not_end_is_stopped(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "SECONDS", 0.5)
    with pytest.raises(ModelError, match="name a template"):
        load_template("tokenizer", tokenizer("bytes", template=ENDLESS[name] + BODY))


def test_a_loop_that_one_row_sets_off_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = "{% if 'now' in messages[0].content %}" + ENDLESS["loops"] + "{% endif %}"
    template = load_template("tokenizer", tokenizer("bytes", template=loop + BODY))
    assert template.segments((Message("user", "q"), Message("assistant", "a")))
    monkeypatch.setattr(sandbox, "SECONDS", 0.5)
    with pytest.raises(ModelError, match="did not end"):
        template.segments((Message("user", "now"), Message("assistant", "a")))


def test_the_child_ends_with_its_parent_object() -> None:
    box = Sandbox(BODY, {"eos_token": "</s>"})
    child = box._child._process
    assert child.poll() is None
    del box
    assert child.wait(5) is not None


def test_no_variable_of_the_environment_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANARY", "secret")
    box = Sandbox(BODY, {"eos_token": ""})
    environ = Path(f"/proc/{box._child._process.pid}/environ")
    if not environ.exists():
        pytest.skip("needs /proc")
    assert b"secret" not in environ.read_bytes()


def test_a_wrong_template_is_named() -> None:
    with pytest.raises(ModelError, match="TemplateSyntaxError"):
        Sandbox("{% for %}", {})


def test_no_chat_template_names_the_others() -> None:
    template = load_template("tokenizer", tokenizer("bytes"))
    written = template.segments((Message("text", "Some words."),))
    assert [segment.text for segment in written] == ["Some words.", template.stop[0]]
    with pytest.raises(ModelError, match=r"has no chat template; .*chatml"):
        template.segments((Message("user", "Hi"), Message("assistant", "Ho")))


def test_the_date_is_not_told() -> None:
    dated = (
        "{% if strftime_now is defined %}{{ strftime_now('%d %b %Y') }}{% else %}26 Jul 2024"
        "{% endif %}" + CHATML
    )
    words = tokenizer("bytes", ("<|im_start|>", "<|im_end|>"), dated)
    template = load_template("tokenizer", words)
    assert any("date" in warning for warning in template.warnings)
    turns = (Message("user", "q"), Message("assistant", "a"))
    assert template.segments(turns)[0].text.startswith("26 Jul 2024")
    needs = tokenizer("bytes", (), "{{ strftime_now('%Y') }}" + BODY)
    with pytest.raises(ModelError, match="asks for the date"):
        load_template("tokenizer", needs)


def test_chance_is_refused() -> None:
    for source in ("{{ [1, 2, 3] | random }}", "{{ lipsum() }}"):
        with pytest.raises(ModelError):
            load_template("tokenizer", tokenizer("bytes", template=source + BODY))


def test_a_template_that_changes_words_is_an_error_of_that_row() -> None:
    changing = "{% for m in messages %}{{ m.content | replace('bad', '***') }}</s>{% endfor %}"
    template = load_template("tokenizer", tokenizer("bytes", template=changing))
    assert template.segments((Message("user", "q"), Message("assistant", "good")))
    with pytest.raises(DataError, match="changes the words of this row"):
        template.segments((Message("user", "q"), Message("assistant", "bad")))
    upper = "{% for m in messages %}{{ m.content | upper }}</s>{% endfor %}"
    with pytest.raises(ModelError, match="once and in order"):
        load_template("tokenizer", tokenizer("bytes", template=upper))


def test_a_template_without_an_end_mark_is_given_one() -> None:
    bare = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    template = load_template("tokenizer", tokenizer("bytes", template=bare))
    assert any("no end mark" in warning for warning in template.warnings)
    found = template.segments((Message("user", "q"), Message("assistant", "a")))
    assert (found[-1].text, found[-1].kind) == ("</s>", "end")


def test_refusals_reach_the_row() -> None:
    only = "{% if messages|length > 2 %}{{ raise_exception('one turn only') }}{% endif %}" + BODY
    template = load_template("tokenizer", tokenizer("bytes", template=only))
    turns = (Message("user", "q"), Message("assistant", "a"), Message("user", "q"))
    with pytest.raises(DataError, match="refuses this row: one turn only"):
        template.segments((*turns, Message("assistant", "a")))
