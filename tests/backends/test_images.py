"""Images that were typed, pasted or dropped, and how they are sent."""

import asyncio
import base64
import builtins
import struct
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tui_router.backends.backend_errors import BackendError
from tui_router.backends.images import attach, find, parts, pasted_path, quoted
from tui_router.core.types import Message

PNG = b"\x89PNG\r\n\x1a\n" + b"0" * 30
BMP = (
    b"BM"
    + struct.pack("<IHHI", 58, 0, 0, 54)
    + struct.pack("<IiiHHIIiiII", 40, 1, 1, 1, 24, 0, 4, 0, 0, 0, 0)
    + b"\0\0\0\0"
)
WEBP = base64.b64decode("UklGRiQAAABXRUJQVlA4IBgAAAAwAQCdASoBAAEAAgA0JaQAA3AA/vuUAAA=")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for name in ("cat.png", "photo(1).png", "my cat.png", "it's.png", 'a "b".png', "no.ending", "ünï.png", "end..png"):
        (tmp_path / name).write_bytes(PNG)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("typed", "name", "left"),
    [
        ("@image cat.png", "cat.png", ""),
        ("look at @image cat.png, what is it?", "cat.png", "look at, what is it?"),
        ("is it a cat (@image cat.png)?", "cat.png", "is it a cat ()?"),
        ("@image cat.png. And?", "cat.png", ". And?"),
        ("@image cat.png?!", "cat.png", "?!"),
        (r"@image photo\(1\).png what?", "photo(1).png", "what?"),
        (r"@image my\ cat.png what?", "my cat.png", "what?"),
        ("@image my cat.png what?", "my cat.png", "what?"),
        ('@image "my cat.png" what?', "my cat.png", "what?"),
        ("@image \u201cmy cat.png\u201d what?", "my cat.png", "what?"),
        ("@image 'my cat.png', what?", "my cat.png", ", what?"),
        ("@image it's.png what?", "it's.png", "what?"),
        (r"@image it\'s.png what?", "it's.png", "what?"),
        ("@image no.ending what?", "no.ending", "what?"),
        ("@image ünï.png", "ünï.png", ""),
        ("@image end..png", "end..png", ""),
        ("what\n@image cat.png\nis it", "cat.png", "what\n\nis it"),
    ],
)
def test_a_file_that_is_named_is_attached(folder, typed, name, left):
    found = find(typed)
    assert [a.path for a in found.attachments] == [str(folder / name)] and not found.notes
    assert found.text == left and found.attachments[0].media_type == "image/png"


def test_addresses_of_files_and_homes(folder, own_home):
    (own_home / "me.png").write_bytes(PNG)
    for typed in ("~/me.png", (own_home / "me.png").as_uri(), str(own_home / "me.png")):
        assert find(f"@image {typed} x").attachments[0].path == str(own_home / "me.png")
    assert find(f"@image {(folder / 'my cat.png').as_uri()}").attachments[0].path == str(folder / "my cat.png")


def test_two_images_and_one_that_is_not_there(folder):
    found = find("@image cat.png and @image dog.png and @image my cat.png")
    assert len(found.attachments) == 2 and found.text == "and @image dog.png and"
    assert found.notes == ("@image: there is no file dog.png, nothing attached",)


@pytest.mark.parametrize(
    "typed", ["~nosuchuser/x.png", "file://[x", "\0.png", "x" * 5000, '"', "'", "''", "~", "/", ".", "\\", "file:"]
)
def test_odd_names_stay_in_the_text(folder, typed):
    found = find(f"see @image {typed}")
    assert not found.attachments and found.text == f"see @image {typed}" and len(found.notes) == 1
    assert isinstance(attach(typed), str) and pasted_path(typed) is None


def test_without_a_name(folder):
    assert find("what is an @image").notes == ("@image: no file named after it, nothing attached",)
    assert find("mail me@image cat.png").attachments == ()


@given(st.text(max_size=40))
@settings(deadline=None)
def test_any_text_is_read(text):
    found = find(f"@image {text}")
    assert isinstance(found.text, str) and (found.attachments or len(found.notes) <= text.count("@image") + 1)
    pasted_path(text)


@pytest.mark.parametrize(
    ("data", "media"),
    [
        (PNG, "image/png"),
        (b"\xff\xd8\xff\xe0" + b"0" * 20, "image/jpeg"),
        (b"GIF89a" + b"0" * 20, "image/gif"),
        (WEBP, "image/webp"),
        (BMP, "image/bmp"),
        (b"BM is the unit of the benchmark, and this is a text of some length that goes on and on.", None),
        (b"BM", None),
        (b"GIF8 is a word", None),
        (b"\x89PNG but not", None),
        (b"RIFF....WAVEfmt ", None),
        (b"", None),
        (b"<svg/>", None),
    ],
)
def test_the_first_bytes_say_what_a_file_is(tmp_path, data, media):
    file = tmp_path / "x.png"
    file.write_bytes(data)
    made = attach(str(file))
    if media is None:
        assert made == "@image: x.png is not an image (bmp, gif, jpeg, png, webp), nothing attached"
    else:
        assert made.media_type == media and made.size_bytes == len(data)


def test_folders_devices_and_large_files_are_refused(tmp_path, monkeypatch):
    from tui_router.backends import images

    assert "is not a file" in attach(str(tmp_path)) and "is not a file" in attach("/dev/zero")
    monkeypatch.setattr(images, "LARGEST", 10)
    (tmp_path / "x.png").write_bytes(PNG)
    assert "the most is" in attach(str(tmp_path / "x.png"))


def test_a_dropped_file_is_known_from_a_pasted_text(folder):
    assert pasted_path(f"{folder}/cat.png ") == str(folder / "cat.png")
    assert pasted_path(f"'{folder}/my cat.png'") == str(folder / "my cat.png")
    assert pasted_path(rf"{folder}/photo\(1\).png") == str(folder / "photo(1).png")
    assert pasted_path("cat.png\ncat.png") is None and pasted_path("a cat") is None and pasted_path("no.ending") is None


@pytest.mark.parametrize("name", ["cat.png", "my cat.png", "it's.png", 'a "b".png', "photo(1).png", "end..png"])
def test_a_quoted_path_is_found_again(folder, name):
    assert [a.path for a in find(f"@image {quoted(str(folder / name))}, what?").attachments] == [str(folder / name)]


# -- sending -----------------------------------------------------------------------------------------------------------
@pytest.fixture
def webp(tmp_path):
    (tmp_path / "dot.webp").write_bytes(WEBP)
    return Message("user", "what is it", attachments=(attach(str(tmp_path / "dot.webp")),))


def sent(message, *how, **more):
    return asyncio.run(parts(message, *how, **more))[1]["image_url"]["url"]


def test_webp_is_sent_as_it_is_or_as_jpeg(webp):
    assert sent(webp).startswith("data:image/webp;base64,")
    url = sent(webp, True)
    assert url.startswith("data:image/jpeg;base64,") and base64.b64decode(url.partition(",")[2]).startswith(
        b"\xff\xd8\xff"
    )


def test_transparent_webp_is_sent_as_png(tmp_path):
    from PIL import Image

    Image.new("RGBA", (4, 4), (255, 0, 0, 128)).save(tmp_path / "x.webp", "WEBP", lossless=True)
    url = sent(Message("user", "x", attachments=(attach(str(tmp_path / "x.webp")),)), True)
    assert url.startswith("data:image/png;base64,")


def test_without_pillow_a_refused_webp_is_one_sentence(webp, monkeypatch):
    real = builtins.__import__

    def without(name, *rest, **more):
        if name == "PIL":
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    for name in [n for n in sys.modules if n.partition(".")[0] == "PIL"]:
        monkeypatch.delitem(sys.modules, name)
    assert sent(webp, True).startswith("data:image/webp")
    with pytest.raises(BackendError, match=r"reads no WebP; save dot\.webp as PNG or JPEG, or install Pillow"):
        sent(webp, True, refused=True)


def test_an_image_that_pillow_cannot_read_is_one_sentence(tmp_path):
    (tmp_path / "x.webp").write_bytes(WEBP[:20])
    message = Message("user", "x", attachments=(attach(str(tmp_path / "x.webp")),))
    with pytest.raises(BackendError, match="reads no WebP"):
        sent(message, True, refused=True)
