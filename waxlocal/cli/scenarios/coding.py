"""The coding assistant: bugs, reviews, and Markdown with code in it."""

from __future__ import annotations

from waxlocal.cli.scenarios.pieces import Agent, Exchange, Lookup, SubAgent, Tool, Topic

__all__ = ["CODING_ASSISTANT"]

_TESTS = Tool(
    "run_tests",
    {"path": "tests/test_{module}.py"},
    "12 passed, 1 failed in 3.41s\nFAILED test_empty_input - IndexError: list index out of range",
    3.4,
)
_READ = Tool(
    "read_file", {"path": "src/{module}.py"}, "def first(rows):\n    return rows[0]\n", 0.1
)
_EDIT = Tool("edit_file", {"path": "src/{module}.py", "replace": "rows[0]"}, "1 line changed", 0.1)

_BUG = Topic(
    (
        Exchange(
            "The {module} raises an IndexError when the input is empty. Can you fix it?",
            "The cause is `first`, which takes `rows[0]` without looking whether there is one. "
            "This returns `None` instead:\n\n"
            "```python\ndef first(rows: list[Row]) -> Row | None:\n"
            "    return rows[0] if rows else None\n```\n\n"
            "One caller relied on the exception; I changed it, too. All tests pass now.",
            (_READ, _TESTS, _EDIT, Tool("run_tests", {"path": "tests"}, "13 passed in 3.38s", 3.4)),
        ),
        Exchange(
            "Please add a test for it.",
            "Here it is:\n\n```python\ndef test_empty_input_has_no_first_row() -> None:\n"
            "    assert first([]) is None\n```",
            (_EDIT,),
        ),
        Exchange(
            "Is there anything else in the {module} that could break?",
            "Two things are worth a look:\n\n- `parse_date` takes a local time for UTC\n"
            "- the file is never closed when an exception is raised\n\n"
            "The second is the more serious one. Shall I fix both?",
            (
                SubAgent(
                    "code-reviewer",
                    {"path": "src/{module}.py", "look for": "errors at the edges"},
                    "A date without a zone, and a file that stays open.",
                    (
                        _READ,
                        SubAgent(
                            "test-writer",
                            {"path": "src/{module}.py"},
                            "Wrote two tests that show both faults.",
                            (_TESTS,),
                        ),
                    ),
                ),
            ),
        ),
        Exchange(
            "Yes, both, in two commits.",
            "Done: *Dates without a zone are UTC* and *The file is closed when parsing fails*. "
            "The tests of both pass.",
            (_EDIT, _TESTS),
        ),
    ),
    tags={"task": "bug"},
)

_REVIEW = Topic(
    (
        Exchange(
            "Review my change to the {module}, please. I replaced the loop by a generator.",
            "It reads better now, and it needs less memory. Two remarks:\n\n"
            "1. `len(items)` no longer works: a generator has no length.\n"
            "2. The second loop over `items` finds nothing, as the first has used it up.\n\n"
            "| line | was | is |\n|---:|---|---|\n| 41 | list | generator |\n| 57 | list | empty |",
            (Tool("git_diff", {"against": "main"}, "+18 −31 in 2 files", 0.3), _READ),
        ),
        Exchange(
            "Good catch. Is `itertools.tee` the right thing here?",
            "Here it is not: `tee` keeps everything that one of the two has not read yet, which "
            "is all of it. Go back to a list for this one.",
        ),
    ),
    tags={"task": "review"},
)

_SCREENSHOT = Topic(
    (
        Exchange(
            "Why does the button look like this? Screenshot attached.",
            "The label is cut off because the button has `width: 40px` and the text is longer in "
            "this language. Use `min-width` instead:\n\n"
            "```css\n.button {\n  min-width: 40px;\n  padding: 0 12px;\n}\n```",
            (
                Tool(
                    "grep", {"pattern": "width: 40px", "in": "styles"}, "styles/button.css:12", 0.2
                ),
            ),
            image=True,
        ),
        Exchange("That fixed it.", "Good. I also looked for other buttons of a fixed width: none."),
    ),
    tags={"task": "layout"},
)

_EXPLAIN = Topic(
    (
        Exchange(
            "What does `git rebase --onto` do? I never remember.",
            "It takes the commits of one branch and puts them onto another place:\n\n"
            "```console\n$ git rebase --onto main old-base topic\n```\n\n"
            "That means: the commits of `topic` that are not in `old-base` go onto `main`.",
            (Lookup("git rebase --onto", ("git-rebase(1)", "Rebasing"), "manual pages"),),
        ),
        Exchange(
            "And if there is a conflict?",
            "Git stops at that commit. Fix the files, `git add` them, then "
            "`git rebase --continue`; `git rebase --abort` takes you back to where you began.",
        ),
    ),
    tags={"task": "question"},
)

_ZH = Topic(
    (
        Exchange(
            "这个函数为什么这么慢?数据只有一万行。",
            "因为循环里每次都查一次数据库。把一万次查询合并成一次就好了:\n\n"
            "```sql\nSELECT id, name FROM users WHERE id IN (SELECT user_id FROM orders)\n```",
            (_READ,),
        ),
        Exchange(
            "快多了,谢谢!",
            "不客气。另外建议给 `user_id` 加一个索引,数据再多也不怕。",
        ),
    ),
    language="zh",
    tags={"task": "speed", "language": "zh"},
)

CODING_ASSISTANT = Agent(
    "coding-assistant",
    "anthropic",
    ("claude-sonnet-4-5", "claude-haiku-4-5"),
    "You are a careful programmer. Read before you write, run the tests after each change, and "
    "say what you did in a few sentences.",
    (_BUG, _BUG, _REVIEW, _SCREENSHOT, _EXPLAIN, _ZH),
    provider="anthropic",
    weight=5,
)
