"""Definitions, scopes and references in every language, as the parsers find them."""

from collections.abc import Iterator

import pytest

from overnight.agents.codemap.languages import LANGUAGES, language_of
from overnight.agents.codemap.parsers import Parsers, Source
from overnight.agents.codemap.tags import Tags

SOURCES = {
    "python": """
import os
from shapes import Base as Other, helper

LIMIT = 3


@decorated
class Circle(Base, mixins.Extra):
    def area(
        self, scale: Scale
    ) -> float:
        return compute(self.radius)

    async def later(self):
        self.notify()
""",
    "javascript": """
import { helper } from './helper';
export const LIMIT = 3;
export const twice = (x) => helper(x);
class Circle extends Base {
  area(scale) { return this.compute(new Scale(scale)); }
  #hidden() {}
}
function make() { return 1; }
exports.other = function () {};
""",
    "typescript": """
import { helper } from './helper';
export interface Shape { area(scale: Scale): number; }
export type Size = number | Other;
enum Colour { Red }
abstract class Circle extends Base implements Shape {
  area(scale: Scale): number { return helper(scale); }
  later = async () => { this.notify(); };
}
export function make<T>(x: T): Circle { return new Circle(x); }
namespace Inner { export const LIMIT = 3; }
""",
    "tsx": "export function Button(props: Props) { return <Icon name={label(props)} />; }\n",
    "go": """
package shapes

const Limit = 3

type Circle struct { radius float64 }

type Shape interface { Area(scale Scale) float64 }

func (c *Circle) Area(scale Scale) float64 { return math.Compute(c.radius) }

func Make() *Circle { return helper() }
""",
    "rust": """
use crate::helpers::{helper, Other};
const LIMIT: u32 = 3;
pub struct Circle<T> { radius: T }
pub trait Shape { fn area(&self, scale: Scale) -> f64; }
impl<T> Shape for Circle<T> {
    fn area(&self, scale: Scale) -> f64 { self.compute(helper(scale)) }
}
macro_rules! twice { () => {} }
pub fn make() -> Circle<u8> { twice!(); Circle::build(1) }
""",
    "java": """
package shapes;
public class Circle extends Base implements Shape {
  public Circle(double radius) { super(radius); }
  @Override
  public double area(Scale scale) { return helper(new Other(scale)); }
  interface Inner {}
  enum Colour { RED }
}
""",
    "c": """
#define LIMIT 3
struct circle { double radius; };
typedef struct circle Circle;
double area(const Circle *c, scale_t scale);
static char *name(struct circle *c) { return helper(c->print(LIMIT)); }
""",
    "cpp": """
namespace shapes {
class Circle : public Base {
 public:
  Circle(double radius);
  double area(Scale scale) const { return helper(scale); }
};
double Circle::twice() { return std::max<int>(1, compute()); }
template <typename T> T make(T x) { return x; }
}
""",
    "ruby": """
module Shapes
  LIMIT = 3
  class Circle < Base
    def area(scale)
      helper(scale)
      Other.build(1)
    end

    def self.make; end
  end
end
""",
}
DEFINED = {
    "python": {"LIMIT": "constant", "Circle": "class", "area": "function", "later": "function"},
    "javascript": {
        "LIMIT": "constant", "twice": "function", "Circle": "class", "area": "method", "#hidden": "method",
        "make": "function", "other": "function",
    },
    "typescript": {
        "Shape": "interface", "Size": "type", "Colour": "enum", "Circle": "class", "area": "method",
        "later": "method", "make": "function", "Inner": "module",
    },
    "tsx": {"Button": "function"},
    "go": {
        "Limit": "constant", "Circle": "type", "Shape": "type", "Area": "method", "Make": "function",
    },
    "rust": {
        "LIMIT": "constant", "Circle": "scope", "Shape": "interface", "area": "function", "twice": "macro",
        "make": "function",
    },
    "java": {"Circle": "method", "area": "method", "Inner": "interface", "Colour": "enum"},
    "c": {"LIMIT": "macro", "circle": "struct", "Circle": "type", "area": "prototype", "name": "function"},
    "cpp": {"shapes": "scope", "Circle": "class", "area": "method", "twice": "method", "make": "function"},
    "ruby": {"Shapes": "module", "LIMIT": "constant", "Circle": "class", "area": "method", "make": "method"},
}  # fmt: skip
REFERRED = {
    "python": {"decorated", "Base", "Extra", "Scale", "compute", "notify", "helper"},
    "javascript": {"helper", "Base", "compute", "Scale"},
    "typescript": {"helper", "Scale", "Other", "Base", "Shape", "Circle", "notify"},
    "tsx": {"Icon", "label", "Props"},
    "go": {"Scale", "Compute", "Circle", "helper"},
    "rust": {"helper", "Other", "Scale", "compute", "Circle", "build", "twice", "Shape"},
    "java": {"Base", "Shape", "Scale", "helper", "Other", "Override"},
    "c": {"circle", "scale_t", "helper", "print"},
    "cpp": {"Base", "Scale", "helper", "compute", "max"},
    "ruby": {"Base", "helper", "Other", "build"},
}


@pytest.fixture(scope="module")
def tags() -> Iterator[dict[str, Tags]]:
    """Return the tags of every sample."""
    parsers = Parsers(seconds=60.0, processes=1)
    try:
        found = parsers.parse([Source(name, text.encode()) for name, text in SOURCES.items()])
        yield dict(zip(SOURCES, found, strict=True))
    finally:
        parsers.close()


def test_every_language_has_a_sample() -> None:
    assert set(SOURCES) == set(DEFINED) == set(REFERRED) == set(LANGUAGES)


@pytest.mark.parametrize("language", SOURCES)
def test_definitions_have_their_kinds(language: str, tags: dict[str, Tags]) -> None:
    found = {(definition.name, definition.kind) for definition in tags[language].definitions}
    assert set(DEFINED[language].items()) - found == set()


@pytest.mark.parametrize("language", SOURCES)
def test_references_are_found(language: str, tags: dict[str, Tags]) -> None:
    assert REFERRED[language] - set(tags[language].references) == set()


def test_lines_signatures_and_scopes(tags: dict[str, Tags]) -> None:
    definitions = tags["python"].definitions
    limit, circle, area, later = definitions
    assert (limit.line, limit.signature) == (5, "LIMIT = 3")
    assert (circle.line, circle.end_line) == (9, 16)
    assert circle.signature == "class Circle(Base, mixins.Extra)"
    assert (area.line, area.signature) == (10, "def area(self, scale: Scale) -> float")
    assert later.signature == "async def later(self)"
    assert [one.scope for one in definitions] == [-1, -1, 1, 1]
    method = next(one for one in tags["rust"].definitions if one.signature.endswith("f64") and one.scope >= 0)
    assert tags["rust"].definitions[method.scope].signature.startswith(("impl", "pub trait"))


def test_references_are_counted(tags: dict[str, Tags]) -> None:
    circle = tags["typescript"].references.index("Circle")
    assert tags["typescript"].counts[circle] == 2


def test_files_that_break_off_anywhere_are_read_as_far_as_they_go() -> None:
    pieces = [
        Source(name, text.encode()[start : start + length])
        for name, text in SOURCES.items()
        for start, length in [
            *((0, end) for end in range(0, len(text), 23)),
            *((at, 90) for at in range(7, len(text), 31)),
        ]
    ]
    parsers = Parsers(seconds=60.0, processes=1)
    try:
        assert {tags.skipped for tags in parsers.parse(pieces)} == {""}
    finally:
        parsers.close()


@pytest.mark.parametrize(
    ("path", "language"),
    [
        ("a/b.py", "python"),
        ("a.TSX", "tsx"),
        ("x.d.ts", "typescript"),
        ("lib.h", "cpp"),
        ("a.b/c", ""),
        ("py", ""),
    ],
)
def test_languages_go_by_the_ending(path: str, language: str) -> None:
    assert language_of(path) == language
