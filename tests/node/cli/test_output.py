"""Tables, templates, filters and spans."""

import click
import pytest

from node.cli.errors import CliError
from node.cli.output import (
    Column,
    matches,
    parse_filters,
    parse_span,
    pluck,
    render_age,
    render_span,
    render_table,
    render_template,
)

ROW = {"id": "1s1", "name": "web", "state": "active", "labels": {"io.x/y": "1"}, "deep": {"er": [1]}, "none": None}
COLUMNS = [Column("ID", lambda row: row["id"]), Column("STATE", lambda row: row["state"], is_state=True)]


def test_table_lines_its_columns_up_without_borders() -> None:
    rows = [{"id": "1s1", "state": "active"}, {"id": "1s1000", "state": ""}]
    assert render_table(COLUMNS, rows) == "ID      STATE\n1s1     active\n1s1000  -"


def test_table_of_nothing_is_its_headers() -> None:
    assert render_table(COLUMNS, []) == "ID  STATE"


def test_table_shortens_long_cells_unless_told_not_to() -> None:
    columns = [Column("IMAGE", lambda row: row["image"]), Column("WHY", lambda row: row["image"], is_whole=True)]
    rows = [{"image": "x" * 50}]
    assert render_table(columns, rows).splitlines()[1] == f"{'x' * 39}…  {'x' * 50}"
    assert render_table(columns, rows, trunc=False).splitlines()[1] == f"{'x' * 50}  {'x' * 50}"


def test_table_colours_states_only_and_keeps_its_columns() -> None:
    text = render_table(COLUMNS, [{"id": "error", "state": "error"}], colour=True)
    assert text.splitlines()[1] == "error  \x1b[31merror\x1b[0m"


def test_table_lets_no_control_character_reach_the_terminal() -> None:
    assert "\x1b" not in render_table(COLUMNS, [{"id": "\x1b[2J\u202e", "state": "a\nb"}])


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{{.name}} {{.state}}", "web active"),
        ("{{ .id }}", "1s1"),
        (r"{{.name}}\t{{.none}}|", "web\t|"),
        ("{{json .labels}}", '{"io.x/y": "1"}'),
        ("{{.labels.io.x/y}}", "1"),
        ("{{.deep.er}}", "[1]"),
        ("plain", "plain"),
    ],
)
def test_template_is_filled_from_the_row(template: str, text: str) -> None:
    assert render_template(template, ROW) == text


def test_template_with_an_unknown_field_lists_the_known_ones() -> None:
    with pytest.raises(CliError) as caught:
        render_template("{{.nmae}}", ROW)
    assert "name" in (caught.value.why or "")


def test_filters_match_fields_labels_and_lists() -> None:
    for text in ("state=active", "label=io.x/y=1", "labels.io.x/y=1", "deep.er=1", "none="):
        assert matches(ROW, parse_filters([text])), text
    assert not matches(ROW, parse_filters(["state=active", "name=other"]))


@pytest.mark.parametrize("text", ["state", "=active", ""])
def test_filter_without_key_and_value_is_a_usage_error(text: str) -> None:
    with pytest.raises(click.UsageError):
        parse_filters([text])


def test_pluck_raises_for_what_is_not_there() -> None:
    with pytest.raises(KeyError):
        pluck(ROW, "name.first")


@pytest.mark.parametrize(("seconds", "text"), [(0, "0s"), (59.9, "59s"), (60, "1m"), (7200, "2h"), (864000, "10d")])
def test_span_is_shown_in_its_largest_unit(seconds: float, text: str) -> None:
    assert render_span(seconds) == text


def test_age_is_never_negative_and_unknown_for_what_has_none() -> None:
    assert render_age(2_000_000, 1000.0) == "0s"
    assert render_age(None, 1000.0) == "-"


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("15m", 900), ("24h", 86400), ("7d", 604800), ("2w", 1209600)]
)
def test_span_is_read_as_people_write_it(text: str, seconds: float) -> None:
    assert parse_span(text) == seconds


@pytest.mark.parametrize("text", ["", "h", "0", "-1h", "1.5h", "24 hours", "9" * 20])
def test_span_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter):
        parse_span(text)
