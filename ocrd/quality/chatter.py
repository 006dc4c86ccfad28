"""Whether an engine talks about a page instead of reading it: echoes, describes, or excuses itself. Pure.

Vision models do so in the languages that they were taught most; the openings are those of the largest ones.
"""

import re

from ocrd.quality.words import Words

_QUESTION = re.compile(
    r"(?:<image>|<\|grounding\|>|free ocr|convert the document to markdown|ocr this image|parse the figure"
    r"|describe this image in detail|[.\s])+",
    re.IGNORECASE,
)
"""What such models are asked, and nothing else."""
_TELLING = re.compile(
    r"[\s*#>`]*(?:"
    r"(?:in )?(?:the|this)(?: \w+)? (?:image|picture|photo(?:graph)?|scan|screenshot)\b.{0,25}\b"
    r"(?:shows?|sees?|seen|appears|contains|depicts|displays|is|presents|features|captures)\b"
    r"|here is a (?:\w+ )?description of (?:the|this)(?: \w+)? (?:image|picture|photo(?:graph)?|scan)\b"
    r"|(?:this is )?an? (?:[\w-]+ ){0,5}(?:image|picture|photo(?:graph)?|scan|scanned|screenshot|close[- ]up)\b"
    r"|(?:auf )?(?:das|dem|dieses|diesem) (?:bild|foto|scan)\b.{0,20}\b(?:zeigt|ist|sieht|enthält|sind|stellt)\b"
    r"|(?:sur |dans )?(?:l['\u2019]|cette |la )(?:image|photo)\b.{0,20}\b(?:montre|présente|contient|voit|est)\b"
    r"|(?:en )?(?:la|esta) (?:imagen|foto(?:grafía)?)\b.{0,20}\b(?:muestra|contiene|ve|es|presenta|aparece|observa)\b"
    r"|(?:nell['\u2019]|l['\u2019]|quest['\u2019])immagine\b.{0,20}\b(?:mostra|contiene|vede|è|presenta|raffigura)\b"
    r"|(?:na |a |esta |nesta )(?:imagem|foto)\b.{0,20}\b(?:mostra|apresenta|contém|vê|é|exibe)\b"
    r"|(?:op )?(?:de|deze|het) (?:afbeelding|foto|scan)\b.{0,20}\b(?:toont|laat|bevat|is|zie)\b"
    r"|(?:na )?(?:ten |tym )?(?:obraz|zdjęcie|obrazie|zdjęciu)\b.{0,20}\b(?:przedstawia|pokazuje|widać|zawiera)\b"
    r"|на (?:этом |данном |цьому )?(?:изображении|картинке|фото(?:графии)?|снимке|скане|зображенні)\b"
    r"|(?:bu )?(?:görsel|resim|görüntü)(?:de|da|deki)?\b"
    r"|(?:这|這|该|該|此)?(?:是一)?[张幅張]?(?:图片|图像|圖片|圖像|照片)[中里裡上]?(?:显示|顯示|是|展示|为|包含|有)"
    r"|(?:この|その)(?:画像|写真)(?:には|では|は|に)"
    r"|(?:이 )?(?:이미지|사진)(?:는|은|에는|에서)"
    r"|(?:تُ?ظهر|توضح) (?:هذه )?الصورة"
    r"|(?:इस|यह) (?:छवि|चित्र|तस्वीर)"
    r")",
    re.IGNORECASE | re.DOTALL,
)
"""The beginning of a description."""
_OF_A_PAGE = re.compile(
    r"\b(?:pages?|documents?|text|paper|letter|sheet|book|handwrit|seite|dokument|blatt|buch|texte|página|documento"
    r"|texto|libro|livro|pagina|testo|tekst|strona|stron|belge|sayfa|metin|страниц|документ|текст|сторінк)"
    r"|[页頁文]|ページ|書類|문서|텍스트|صفحة|نص|पृष्ठ",
    re.IGNORECASE,
)
"""What an engine sees where it was shown a page. A caption in a book speaks of other things."""
_EXCUSE = re.compile(
    r"\b(?:sorry|apologi[sz]e|cannot|can['\u2019]t|unable|as an ai|too (?:blurry|small|dark)|unclear|illegible"
    r"|upside down|(?:does not|doesn['\u2019]t) (?:contain|show)|appears to be|no (?:readable |visible )?text"
    r"|tut mir leid|désolée?|lo siento|mi dispiace|desculpe|przepraszam|извините|к сожалению)\b"
    r"|抱歉|对不起|無法|无法|申し訳|죄송",
    re.IGNORECASE,
)
_PREAMBLE = re.compile(
    r"[\s*#>`]*(?:here(?:['\u2019]s| is)|below is|let me|sure\b|certainly|of course|<think>)", re.IGNORECASE
)
"""What is said before an answer."""
_EXCUSED = re.compile(
    r"\b(image|picture|photo|request|user wants|bild|imagen|immagine|imagem|изображени|zdjęci)|(图|圖|画像|이미지)"
    r"|document|text|page|scan|transcri|extract|seite|dokument",
    re.IGNORECASE,
)
"""What an excuse is about: an image, which no letter speaks of, or what may as well be meant by one."""
_RECORD = re.compile(r"""["']bbox(?:_2d)?["']\s*:""")
"""What names a place in the answers that are meant for a program; such models write them unasked."""
_OWN_TOKEN = re.compile(r"(?:<|&lt;)(?:[fexlu]cel|nl)(?:>|&gt;)")
_LOOK = re.compile(
    r"\b(?:image|picture|photo(?:graph)?|page|document|text|background|layout|visible|display(?:s|ed)?|appears?|arranged"
    r"|located|font|bold|white|black|colou?red|top|bottom|left|right|upper|lower|corner|cent(?:er|re)|section|overall"
    r"|header|heading|diagram|label(?:l?ed|s)?|depict\w*|featur\w*|handwritten|legible|formatted|columns?|box(?:es)?)\b",
    re.IGNORECASE,
)
_LOOKING = 0.08
"""Share of such words: 0.1 to 0.25 in descriptions, 0.03 in most texts."""
_SHORT = 250
"""Letters of the longest excuse; a description has up to four times as many."""


_OPENING = 100
"""Characters of a description's first sentence."""
_RECORDS = 5
"""Places that no print has."""


def found(content: Words, *, fits: bool) -> str:
    """Say that the engine talks; empty if it reads. `fits` tells that the page has about so many letters."""
    text = content.text.lstrip()
    if _QUESTION.fullmatch(text):
        return "the engine repeated what it was asked"
    if _describes(text, content, fits=fits) or any(
        _described(block.text, content.letters) for block in content.blocks[1:]
    ):
        return "the engine describes the page instead of reading it"
    if "bbox" in content.raw and len(_RECORD.findall(content.raw)) >= _RECORDS:
        return "the engine gives places for a program instead of the text"
    if "cel" in content.raw and len(_OWN_TOKEN.findall(content.raw)) >= _RECORDS:
        return "the engine wrote tokens of its own into a table"
    if content.letters > _SHORT:
        return ""
    excuse, about = _EXCUSE.search(text), _EXCUSED.search(text)
    named = about and (about[1] or about[2])
    if (excuse and named) or (not fits and about and (excuse or _PREAMBLE.match(text))):
        return "the engine speaks about the page instead of reading it"
    return ""


def _describes(text: str, content: Words, *, fits: bool) -> bool:
    """Whether a text begins as a description does: briefly, of a page, or in words that look at things all along."""
    if not _TELLING.match(text):
        return False
    if content.letters < 4 * _SHORT and (not fits or _OF_A_PAGE.search(text[:_OPENING])):
        return True
    return _looks(text)


def _described(text: str, letters: int) -> bool:
    """Whether a block that is much of a page is a description."""
    return len(text) > max(_OPENING, letters / 4) and bool(_TELLING.match(text)) and _looks(text)


def _looks(text: str) -> bool:
    """Whether many of a text's words say what something looks like and where it stands."""
    return len(_LOOK.findall(text)) > _LOOKING * (text.count(" ") + 1)
