"""What the painters of each genre have in common: how they paint, what they paint, and with which colours."""

from __future__ import annotations

from typing import NamedTuple

from artsim.painting.brushes import Brush


class Idiom(NamedTuple):
    """What the painters of a genre have in common."""

    engine: str  # key of brushes.ENGINES
    subjects: str  # keys of subjects.SUBJECTS; what stands more often is painted more often
    palettes: str  # keys of PALETTES; one artist after the other takes the next
    brush: Brush
    modelling: float  # 0 flat shapes .. 1 round ones
    grain: float  # of canvas or paper, 0..1
    varnish: float  # how far the surface has yellowed, 0..1


# Colours in the order of scenes.Palette: sky, glow, far, land, leaf, water, dark, accent.
PALETTES = {
    "morning": "8fb4d6 fbe6c0 a7b4cf d2b878 7f9f5a 86aec0 34465e d9734a",
    "river": "7fa8cf fdf0d2 8fa6c4 b9b26a 5d8f55 5f93b5 2b4160 e2875a",
    "harbour": "9ab0c0 f7cfa0 7d8fa6 a08a6a 6c7f62 5f7f92 2f3a48 e8622e",
    "orchard": "a9cbe2 fff3dc b4b9d8 e0c77e 8fb86b 9cc4cf 4a4a72 e58aa0",
    "provence": "3f74b8 ffd95e 6c8fc4 e2a93b 4f8a4a 3a78a8 1f2a55 d9502f",
    "jungle": "5fb0b7 ffe7a0 4f8f87 c79a4b 2f7d46 2f7f96 12302c e0552f",
    "wild": "2f9fd0 ffd23f e86fa0 f08a2c 2fae66 1f6fc4 2a1f5c e6332f",
    "alarm": "d9662b f6d06b 7a4a6a a8563a 4a6a4f 2f5a70 1c1a2c c6262c",
    "berlin": "4f6f9f f0c94f 8f5f8f c98a3f 3f8f6a 2f5f8f 141824 d83f4f",
    "gallery": "6f7f86 e8cf9f 6a6658 8a6a42 5a5a36 4f5f5f 1c1712 a8442c",
    "cellar": "54504a e2bd82 5a4a3a 6f4a2c 4a4628 3f4846 120e0b 9c3626",
    "umber": "7a7668 ecd6a6 6f6550 7f6440 585c38 5a675f 1a1613 b0552f",
    "chapel": "7fa6c9 f7e2b4 8fa8a8 b79a62 5f7f4a 5a86a0 3a2c28 c23f30",
    "fresco": "9fb9c4 f4ddb8 a9ad9a c8a678 7f8a58 7c9aa2 4c3a32 b8583c",
    "flemish": "6f93ad f2e2b8 7f9f9c 8f7038 3f5f34 3f6a74 1e1a18 b52a22",
    "acid": "8fa9c9 f3dccb 9f93b0 c6a05a 7f9a5f 5f95a0 33263a d0608a",
    "rococo": "a9c9e2 fff0df c4cbd6 d9c49a 93b08a a3c6c9 5f5666 e8949c",
    "boudoir": "b6c4d9 fdeadf d3c1c9 cfb08c 9cab84 9fb5c2 6a4f52 d6737c",
    "tempest": "4f6072 f4d69a 6a7682 6f5f40 47533a 3a5a62 14181e a84a2a",
    "alpine": "6a8fb4 f9cf96 8a93ae 8f7446 4d6138 4f7484 1e2430 c65a2e",
    "barbizon": "94a3aa f1deb4 8b9490 9a7f48 5a6834 66787a 25221c a8532f",
    "steppe": "a4bacb f6e6c4 9aa8ac b99a5a 77814a 7893a0 2c2b2a b4583a",
    "noon": "79a9cf fbf1dc 93a3a8 c8b184 6f8a52 5f8fa8 2a2f36 c2502f",
    "diner": "5f8f9a f7dd9a 7f8f86 b3683f 4f6f54 3f707a 16202a d23f2c",
    "dream": "4a5f8f f0d9a0 6f6a9a 6a5f6a 3f6a5f 355a7f 161a30 b04a5f",
    "lotus": "6f8f9f f4e3a9 9f8fb0 8f7a5a 5f8a7a 3f6f7f 231f3a c77a4a",
    "gilt": "b7a24a fae6a2 8f9a7a c99a3a 5f7f4a 4f7a72 33241f c4532f",
    "poster": "a8c2b4 fbeccb 9fb09a d8a860 6f8f5f 5f8f90 3a2f3a cf6a4a",
    "edo": "7fa0b4 f4e6c8 93a9a8 d8c08f 7f8f5a 2f5a86 22283c c9503a",
    "indigo": "4a7aa6 f0e2c6 7f9cb4 c9b08a 5f7f62 1f4a80 1a2240 d86a4a",
    "slate": "8a8f8c e6d9b6 77756c 9c835a 6b6a4c 66706f 1d1b19 8c5a34",
    "ochre": "a59c84 efdfb5 8c8266 b08a4c 77703f 76806f 221c14 9a5a2c",
    "collage": "7fa0b8 f4e8cf a9a79a c99f63 5f8a6a 3f6f9a 1f1f26 cf4a36",
    "candy": "2fa8e0 fff2c4 f7a8c4 ffd02f 3fbf7f 1f5fd0 17171f f0323f",
    "print": "4fc3d9 fff6e0 ffb0a0 ffe14a 8fd05f 3f50c8 1a1a1a ff4f7f",
    "ember": "8f2f2a f2a23f b8432f d86a2c 6a2f3a 4a1f3a 1f1014 e8552c",
    "lagoon": "2f6f8f e8e0a0 4f9f9f 8fb06a 2f7f6f 1f4f8f 10203a f0a04f",
    "orchid": "6a4f9f f4c9b0 b07fb8 d9908f 5f6f9f 3f3f7f 1f1730 f0c040",
    "chalk": "b9c4c9 f8f6ee d0cfc6 c8bca6 a3ab98 93a4ad 2a2a2c b8523c",
    "enamel": "3f6fb0 fbfaf2 c9c9c9 e8c23a 3f8f6a 2f4f9f 111114 d8362c",
}

_BROAD = "landscape landscape landscape woods sea town town figure still_life flowers"
_OLD = "figure figure landscape still_life town"
_PLAIN = Brush(26, 5, 0.2, 0.35, 0, 0, 0.2, 0.25)
IDIOMS: dict[str, Idiom] = {
    "Abstract_Expressionism": Idiom(
        "sweeps", "gesture", "ember lagoon orchid berlin chalk", Brush(70, 40, 0.6, 0.8, 0, 0, 0.4, 0), 0, 0.6, 0
    ),
    "Action_painting": Idiom(
        "drips", "thrown", "chalk lagoon ember enamel", Brush(0, 9, 0, 0.8, 0, 0, 0, 0), 0, 0.7, 0
    ),
    "Analytical_Cubism": Idiom(
        "facets",
        "still_life figure still_life town",
        "slate ochre umber",
        Brush(45, 55, 0.25, 1.0, 0.8, 0.2, 0, 0),
        1,
        0.6,
        0.4,
    ),
    "Art_Nouveau_Modern": Idiom(
        "flat",
        "vines vines flowers figure woods landscape",
        "gilt poster lotus fresco",
        Brush(0, 4.5, 0.5, 0.2, 0.75, 0, 0.4, 0),
        0.4,
        0.35,
        0.15,
    ),
    "Baroque": Idiom(
        "glaze",
        "still_life still_life figure landscape sea flowers",
        "cellar gallery flemish",
        _PLAIN._replace(gloom=0.95),
        1,
        0.4,
        0.55,
    ),
    "Color_Field_Painting": Idiom(
        "glaze", "fields", "ember lagoon orchid provence wild", _PLAIN._replace(gloom=0.05, relief=0.3), 0, 0.6, 0
    ),
    "Contemporary_Realism": Idiom(
        "glaze", "town figure landscape still_life sea", "noon diner steppe", _PLAIN._replace(gloom=0.12), 0.9, 0.3, 0
    ),
    "Cubism": Idiom(
        "facets",
        "still_life still_life figure town landscape",
        "ochre collage provence slate berlin",
        Brush(60, 75, 0.6, 1.0, 0.7, 0.2, 0, 0),
        1,
        0.6,
        0.2,
    ),
    "Early_Renaissance": Idiom(
        "glaze", _OLD, "chapel fresco gilt", _PLAIN._replace(gloom=0.15, line=0.35), 0.75, 0.3, 0.5
    ),
    "Expressionism": Idiom(
        "dabs",
        "landscape figure town woods figure sea",
        "alarm berlin wild ember",
        Brush(62, 13, 0.8, 0.9, 0, 0.5, 0.8, 0),
        0.8,
        0.6,
        0.05,
    ),
    "Fauvism": Idiom(
        "dabs",
        "landscape sea town figure still_life woods",
        "wild provence candy jungle",
        Brush(48, 17, 0.9, 0.6, 0, 0, 0.3, 0),
        0.5,
        0.6,
        0,
    ),
    "High_Renaissance": Idiom("glaze", _OLD, "gallery chapel umber fresco", _PLAIN._replace(gloom=0.4), 1, 0.3, 0.65),
    "Impressionism": Idiom(
        "dabs", _BROAD, "morning river harbour orchard noon", Brush(24, 7, 0.7, 0.7, 0, 0, 0.35, 0), 0.8, 0.5, 0.05
    ),
    "Mannerism_Late_Renaissance": Idiom(
        "glaze", "figure figure landscape town", "acid chapel flemish", _PLAIN._replace(gloom=0.5), 1, 0.35, 0.4
    ),
    "Minimalism": Idiom("flat", "geometry", "chalk enamel lagoon slate", Brush(0, 1, 0.1, 0.1, 0, 0, 0, 0), 0, 0.35, 0),
    "Naive_Art_Primitivism": Idiom(
        "flat",
        "landscape landscape town flowers woods sea figure",
        "jungle candy noon provence",
        Brush(0, 3, 0.6, 0.3, 0.45, 0, 0, 0),
        0.55,
        0.4,
        0.05,
    ),
    "New_Realism": Idiom(
        "glaze",
        "town town figure sea still_life",
        "diner steppe noon",
        _PLAIN._replace(gloom=0.3, relief=0.5),
        0.7,
        0.4,
        0.1,
    ),
    "Northern_Renaissance": Idiom(
        "glaze", _OLD + " woods", "flemish chapel cellar", _PLAIN._replace(gloom=0.3, line=0.5), 1, 0.25, 0.5
    ),
    "Pointillism": Idiom(
        "dots",
        "landscape sea sea woods town",
        "orchard river morning noon",
        Brush(0, 6.5, 0.8, 0, 0, 0, 0, 0),
        0.9,
        0.3,
        0,
    ),
    "Pop_Art": Idiom(
        "halftone",
        "figure figure still_life flowers town",
        "candy print enamel",
        Brush(0, 9, 0.2, 0, 0.9, 0.5, 0, 0),
        0.5,
        0.15,
        0,
    ),
    "Post_Impressionism": Idiom(
        "dabs",
        _BROAD + " still_life figure",
        "provence river jungle orchard alpine",
        Brush(44, 9, 0.8, 0.95, 0, 0.3, 0.9, 0),
        0.9,
        0.6,
        0.05,
    ),
    "Realism": Idiom(
        "glaze",
        _BROAD + " figure landscape",
        "barbizon steppe umber alpine harbour",
        _PLAIN._replace(gloom=0.35, relief=0.6),
        1,
        0.45,
        0.3,
    ),
    "Rococo": Idiom(
        "glaze",
        "figure figure landscape flowers",
        "rococo boudoir morning",
        _PLAIN._replace(gloom=0.12, relief=0.5),
        0.9,
        0.35,
        0.2,
    ),
    "Romanticism": Idiom(
        "glaze",
        "sea sea landscape landscape woods figure",
        "tempest alpine gallery",
        _PLAIN._replace(gloom=0.65, relief=0.6),
        1,
        0.4,
        0.4,
    ),
    "Symbolism": Idiom(
        "dabs",
        "figure landscape woods sea flowers",
        "dream lotus gilt indigo",
        Brush(40, 7, 0.5, 0.5, 0, 0.9, 0.6, 0),
        0.8,
        0.5,
        0.15,
    ),
    "Synthetic_Cubism": Idiom(
        "facets",
        "still_life still_life figure",
        "collage candy poster",
        Brush(35, 110, 0.95, 0.5, 0.9, 0.0, 0, 0),
        0.3,
        0.5,
        0.05,
    ),
    "Ukiyo_e": Idiom(
        "flat",
        "sea sea landscape flowers figure town",
        "edo indigo poster",
        Brush(0, 3.6, 0.4, 0, 0.95, 0, 0, 0),
        0.12,
        0.2,
        0.2,
    ),
}
