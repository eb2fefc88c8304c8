"""The mark that a picture was made by a machine, in a JPEG's metadata: its pixels and their coding stay as they are."""

from __future__ import annotations

TRAINED = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
"""IPTC Digital Source Type NewsCodes: created by a model that was trained on sampled content."""
ALGORITHMIC = "http://cv.iptc.org/newscodes/digitalsourcetype/algorithmicMedia"
"""The same, for what an algorithm made that was not trained."""

_SOI, _APP0, _APP1 = b"\xff\xd8", b"\xff\xe0", b"\xff\xe1"
_XMP = b"http://ns.adobe.com/xap/1.0/\0"
"""What an APP1 segment that holds XMP begins with (XMP Specification Part 3, section 1.1.3)."""
_PACKET = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
    Iptc4xmpExt:DigitalSourceType="{source_type}"/>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="w"?>"""


def mark(jpeg: bytes, source_type: str) -> bytes:
    """The JPEG with an XMP packet that tells its IPTC digital source type; all other bytes stay.

    The segment stands where readers look for it: behind JFIF's APP0, which must come first, before all others.
    """
    assert jpeg.startswith(_SOI), "not a JPEG"
    at = len(_SOI)
    while jpeg[at : at + 2] == _APP0:
        at += 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big")
    packet = _XMP + _PACKET.format(source_type=source_type).encode()
    return jpeg[:at] + _APP1 + (len(packet) + 2).to_bytes(2, "big") + packet + jpeg[at:]
