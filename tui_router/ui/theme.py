"""The palette: three themes, one set of names. Nothing else in the program names a colour.

Contrast of every text colour on every ground is at least 4.5:1 (7:1 in `router-high`); a test computes it.
"""

from __future__ import annotations

from textual.theme import Theme

DARK = {
    "bg": "#10141a",
    "surface": "#171c24",
    "raised": "#202732",
    "rule": "#323c49",
    "text": "#d3dae3",
    "strong": "#f3f6f9",
    "muted": "#8e9aa9",
    "accent": "#6cb4f5",
    "right": "#52c4a0",
    "wrong": "#f28b6c",
    "caution": "#e9c46a",
    "s1": "#6cb4f5",
    "s2": "#e9c46a",
    "s3": "#e5739b",
    "s4": "#dfe5eb",
    "band": "#25405c",
}
LIGHT = {
    "bg": "#fbfaf7",
    "surface": "#f3f2ee",
    "raised": "#e6e8e6",
    "rule": "#c3cacd",
    "text": "#26303a",
    "strong": "#0d141b",
    "muted": "#56626e",
    "accent": "#0f5f9f",
    "right": "#08674f",
    "wrong": "#a83a18",
    "caution": "#804d00",
    "s1": "#0f5f9f",
    "s2": "#804d00",
    "s3": "#8f1f55",
    "s4": "#1b252e",
    "band": "#b9d3e8",
}
HIGH = {
    "bg": "#000000",
    "surface": "#0d0d0d",
    "raised": "#222222",
    "rule": "#808080",
    "text": "#ffffff",
    "strong": "#ffffff",
    "muted": "#c4c4c4",
    "accent": "#8cd0ff",
    "right": "#5fe3b8",
    "wrong": "#ffa68c",
    "caution": "#ffd866",
    "s1": "#8cd0ff",
    "s2": "#ffd866",
    "s3": "#ff9fc0",
    "s4": "#e6e6e6",
    "band": "#143a5c",
}


def _theme(name: str, p: dict[str, str], dark: bool) -> Theme:
    return Theme(
        name=name,
        dark=dark,
        primary=p["accent"],
        secondary=p["s4"],
        accent=p["accent"],
        foreground=p["text"],
        background=p["bg"],
        surface=p["surface"],
        panel=p["raised"],
        success=p["right"],
        warning=p["caution"],
        error=p["wrong"],
        variables={
            **p,
            "border": p["rule"],
            "border-blurred": p["rule"],
            "block-cursor-background": p["raised"],
            "block-cursor-foreground": p["strong"],
            "block-cursor-text-style": "none",
            "block-cursor-blurred-background": p["raised"],
            "input-selection-background": p["band"],
            "input-cursor-background": p["accent"],
            "scrollbar": p["rule"],
            "scrollbar-background": p["bg"],
            "scrollbar-hover": p["muted"],
            "scrollbar-active": p["accent"],
            "scrollbar-corner-color": p["bg"],
            "scrollbar-background-hover": p["bg"],
            "scrollbar-background-active": p["bg"],
            "markdown-h1-color": p["strong"],
            "markdown-h2-color": p["strong"],
            "markdown-h3-color": p["strong"],
        },
    )


THEMES = (
    _theme("router-dark", DARK, dark=True),
    _theme("router-light", LIGHT, dark=False),
    _theme("router-high", HIGH, dark=True),
)


def variables_for(theme: Theme) -> dict[str, str]:
    """Our names for a theme of Textual's own, so that every screen works on every theme."""
    base = DARK if theme.dark else LIGHT
    text = theme.foreground or base["text"]
    return {
        **base,
        "bg": theme.background or base["bg"],
        "surface": theme.surface or base["surface"],
        "raised": theme.panel or base["raised"],
        "text": text,
        "strong": text,
        "accent": theme.accent or theme.primary,
        "right": theme.success or base["right"],
        "wrong": theme.error or base["wrong"],
        "caution": theme.warning or base["caution"],
        "s1": theme.accent or theme.primary,
    }
