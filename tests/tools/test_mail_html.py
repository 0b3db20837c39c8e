"""HTML mail as text: lines, quotes, and nothing that the reader would not see."""

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from tools.mail import elements, html, replies

TAGS = ["p", "div", "span", "b", "table", "tr", "td", "th", "ul", "li", "blockquote", "pre", "h2", "center", "font", "a", "o:p", "style", "script", "title", "xmp", "svg", "select"]  # fmt: skip
DRESS = [
    "", ' class="MsoNormal"', ' style="margin:0"', ' style="display:none"', ' style="color:#fff"', ' style="color:#333"', ' style="background:#000"',
    ' style="color:#d0d0d0;background-color:#cccccc"', " hidden", " class=gmail_quote", " bgcolor=black", " color=white", " size=0", " class=gone",
    ' class="webkit-indent-blockquote"', ' title="a>b<c"', ' a"b=1', " a<b=1",
]  # fmt: skip
WORDS = [
    "one",
    " two ",
    "\n",
    "&nbsp;",
    "&lt;p&gt;",
    "&amp;nbsp;",
    "x < y",
    ">",
    "<br>",
    "<hr>",
    "<!-- c -->",
    "<!--",
    "</p>",
    "<td>",
    "<a<b>",
    "&#31;",
]
ELEMENT = some.tuples(some.sampled_from(TAGS), some.sampled_from(DRESS))
MARKUP = some.recursive(
    some.sampled_from(WORDS),
    lambda inner: some.builds(
        lambda element, inside, closed: (
            f"<{element[0]}{element[1]}>{''.join(inside)}{f'</{element[0]}>' if closed else ''}"
        ),
        ELEMENT,
        some.lists(inner, max_size=4),
        some.booleans(),
    ),
    max_leaves=12,
)


class TestToText:
    @pytest.mark.parametrize(
        ("markup", "text"),
        [
            ("<p>One</p><p>Two</p>", "One\n\nTwo"),
            ('<p class="MsoNormal">One</p><p class="MsoNormal">Two</p>', "One\nTwo"),
            ("<div>One</div><div>Two</div>", "One\nTwo"),
            ("<div>One</div><div><br></div><div>Two</div>", "One\n\nTwo"),
            ("one<br>two<br/>three", "one\ntwo\nthree"),
            ("one\ntwo   three&nbsp;four", "one two three four"),
            ("a <b>bold</b> and <i>soft</i> word", "a bold and soft word"),
            ("<ul><li>one</li><li>two</li></ul>", "- one\n- two"),
            ("<table><tr><td>a</td><td>b</td></tr><tr><td>c</td></tr></table>", "a b\nc"),
            ("<pre>x = 1\n  y = 2</pre>", "x = 1\ny = 2"),
            ("Tom &amp; Ann &lt;ann@fir.example&gt; &#8364;5", "Tom & Ann <ann@fir.example> €5"),
            ("<style>p{}</style><script>x()</script><title>t</title>seen<!-- not -->", "seen"),
            (
                "<blockquote>one<div>two<blockquote>three</blockquote></div></blockquote>four",
                "> one\n> two\n> > three\nfour",
            ),
            ("unclosed <div>one<p>two", "unclosed\none\n\ntwo"),
            ("", ""),
        ],
    )
    def test_shows_lines(self, markup, text):
        assert html.to_text(markup) == text

    @pytest.mark.parametrize(
        "markup",
        [
            '<div style="display:none">HIDDEN</div>',
            '<div style="DISPLAY : NONE !important">HIDDEN</div>',
            '<div style="dis\\70lay:none">HIDDEN</div>',
            '<div style="display:/* x */none">HIDDEN</div>',
            '<div style="display&#58;none">HIDDEN</div>',
            "<div style=display:none>HIDDEN</div>",
            '<span style="visibility:hidden">HIDDEN</span>',
            '<span style="font-size:0">HIDDEN</span>',
            '<span style="font-size:0px;line-height:0">HIDDEN</span>',
            '<span style="font-size:1px">HIDDEN</span>',
            '<span style="font:0.01em/1 Arial">HIDDEN</span>',
            '<span style="color:#ffffff">HIDDEN</span>',
            '<span style="color:white;background-color:#FFF">HIDDEN</span>',
            '<span style="color:rgb(254, 254, 254)">HIDDEN</span>',
            '<span style="color:rgba(0,0,0,0)">HIDDEN</span>',
            '<span style="color:transparent">HIDDEN</span>',
            '<font color="#FFFFFF">HIDDEN</font>',
            '<div bgcolor="#101010"><font color="#111111">HIDDEN</font></div>',
            '<div style="background:#000"><p style="color:#000">HIDDEN</p></div>',
            '<div style="position:absolute;left:-9999px">HIDDEN</div>',
            '<div style="text-indent:-5000px">HIDDEN</div>',
            '<div style="max-height:0;overflow:hidden">HIDDEN</div>',
            '<div style="opacity:0">HIDDEN</div>',
            '<div style="mso-hide:all">HIDDEN</div>',
            '<div style="clip:rect(0,0,0,0)">HIDDEN</div>',
            "<div hidden>HIDDEN</div>",
            '<style>.pre{display:none}</style><div class="a pre">HIDDEN</div>',
            "<style>#x, .y{font-size:0}</style><div id=x>HIDDEN</div>",
            "<template>HIDDEN</template>",
            "<div style='display:none'><p><b>HIDDEN</b></p></div>",
        ],
    )
    def test_leaves_out_what_is_hidden(self, markup):
        assert html.to_text(f"<p>seen</p>{markup}<p>too</p>").split() == ["seen", "too"]

    @pytest.mark.parametrize(
        "markup",
        [
            '<span style="font-size:0.9em">SEEN</span>',
            '<span style="font-size:10px;line-height:0">SEEN</span>',
            '<span style="opacity:0.5">SEEN</span>',
            '<div style="background:#222"><span style="color:#fff">SEEN</span></div>',
            '<table bgcolor="#003366"><tr><td><font color="white">SEEN</font></td></tr></table>',
            '<div style="background:url(x.png)"><span style="color:white">SEEN</span></div>',
            '<div style="overflow:hidden;height:20px">SEEN</div>',
            '<div style="margin-left:-10px">SEEN</div>',
            '<style>@media (max-width:600px){.wide{display:none}}</style><div class="wide">SEEN</div>',
            '<a style="text-decoration:none;border:none">SEEN</a>',
            '<span style="color:#1f497d;background:white">SEEN</span>',
            '<p style="width:100%;height:1.5em">SEEN</p>',
        ],
    )
    def test_shows_what_is_only_dressed(self, markup):
        assert "SEEN" in html.to_text(f"<p>a</p>{markup}<p>b</p>")

    def test_marks_where_the_markup_says_that_history_begins(self):
        markup = (
            "<div>Jep, käy.</div><div class='gmail_quote'><div class='gmail_attr'>Tuntematon rivi</div>Vanhaa</div>"
        )
        shown = html.to_text(markup)
        assert shown.split("\n") == ["Jep, käy.", html.HISTORY, "Tuntematon rivi", "Vanhaa"]
        assert replies.split(shown).text == "Jep, käy."

    def test_a_mail_cannot_bring_the_mark_itself(self):
        assert html.HISTORY not in html.to_text(f"<p>one</p>{html.HISTORY}<p>two</p>")

    @pytest.mark.parametrize(
        "markup",
        [
            "<div>" * 200_000 + "deep",
            "<b>" * 200_000 + "deep",
            "".join(f"<font id={number}>" for number in range(20_000)) + "<p>x" * 20_000,
            "<div " + " ".join(f"a{number}=1" for number in range(100_000)) + ">x",
            "<style>" + "," * 900_000 + "</style><b style='display:none'>x</b>",
            "<style>" + "{" * 900_000 + "</style><b style='display:none'>x</b>",
            "<!--" * 250_000,
            "<" * 1_000_000,
            "<a " * 300_000,
            "&" * 1_000_000,
            '<div style="' + "font:" * 200_000 + '">x</div>',
            '<div style="' + "left : " * 140_000 + '">x</div>',
            '<div><b style="color:#fff">x</b></div>' * 20_000,
        ],
        ids=range(13),
    )
    def test_monstrous_markup_costs_little(self, markup):
        start = time.process_time()
        html.to_text(markup)
        assert time.process_time() - start < 2.0

    def test_embedded_pictures_do_not_count_as_markup(self):
        picture = "A/b+" * 50_000
        assert html.to_text(f'<p>one<img src="data:image/png;base64,{picture}">two</p>') == "onetwo"


class TestReadingWithoutWalking:
    """Most mail is read from what the parser writes; the walk over the tree is what it must agree with."""

    @given(some.lists(MARKUP, max_size=4).map("".join))
    def test_reads_what_the_walk_reads(self, markup):
        shown = html.to_text(markup)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(html, "_flat", never)
            assert shown == html.to_text(markup)

    def test_walks_only_where_a_tag_is_unclear(self, monkeypatch):
        monkeypatch.setattr(html._Walk, "text_of", refuse)
        plain = '<html><body bgcolor="white"><p class="MsoNormal"><span style="color:#1F497D">One</span></p><!-- x --><table><tr><td>a</td></tr></table>'
        assert html.to_text(plain) == "One\na"
        with pytest.raises(AssertionError):
            html.to_text('<p>One</p><p style="color:#fefefe">Two</p>')

    def test_keeps_what_tags_write_within_bounds(self):
        marks = elements._Marks(lambda tags: tags)
        for number in range(3 * marks.kept):
            assert marks[f"<p id={number}>"] == f"<p id={number}>"
        assert marks["<p " + "x" * marks.longest + ">"]
        assert len(marks) <= marks.kept
        assert max(map(len, marks)) <= marks.longest


def never(*_: Any) -> None:
    """The way around the walk, closed."""


def refuse(*_: Any) -> str:
    raise AssertionError("walked")


class TestLooksLikeHtml:
    def test_tells_markup_from_words(self):
        assert html.looks_like_html("<div>Hello</div>")
        assert not html.looks_like_html("Ann <ann@fir.example> wrote: 1 < 2 and <3")
