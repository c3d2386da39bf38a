// A map of attention laid over its photo: the same picture as model/attention_overlay.py makes.

// Attention is shown in multiples of an even share: plain grey up to EVEN, full colour from FULL on.
const EVEN = 1, FULL = 4;
const SMOOTHING = 0.5; // standard deviation of the blur, in cells of the grid
const DARK = [225, 80, 0], LIGHT = [255, 240, 160]; // full colour, of black and of white
const MAX_SIDE = 900; // pixels that are drawn; the browser stretches them

/** A canvas that shows, in orange on dim grey, where a word looked. */
export class Attention {
  constructor(canvas) {
    this.canvas = canvas;
    this.grey = null;
  }

  /** Take a photo, an image that has loaded; or null and a size, for one that cannot be shown. */
  use(image, width, height) {
    const scale = Math.min(1, MAX_SIDE / Math.max(width, height));
    this.canvas.width = Math.max(1, Math.round(width * scale));
    this.canvas.height = Math.max(1, Math.round(height * scale));
    this.grey = image ? greyOf(image, this.canvas) : null;
    this.hide();
  }

  hide() {
    this.canvas.classList.remove("seen");
  }

  /** Show a map: rows of weights, from the top, which sum to 1. */
  show(map) {
    const { width, height } = this.canvas;
    const shares = stretch(map, width, height);
    const context = this.canvas.getContext("2d");
    const picture = context.createImageData(width, height);
    for (let i = 0; i < shares.length; i++) {
      const light = this.grey ? this.grey[i] / 255 : 0.5;
      const strength = Math.min(1, Math.max(0, (shares[i] - EVEN) / (FULL - EVEN))) ** 0.75;
      const dim = 255 * (0.1 + 0.5 * light) * (1 - strength);
      for (let channel = 0; channel < 3; channel++) {
        const full = DARK[channel] + (LIGHT[channel] - DARK[channel]) * light;
        picture.data[4 * i + channel] = Math.round(dim + full * strength);
      }
      picture.data[4 * i + 3] = 255;
    }
    context.putImageData(picture, 0, 0);
    this.canvas.classList.add("seen");
  }
}

/** Say in words where most of a map's attention is. */
export function placeOf(map) {
  const cells = map.flatMap((row, y) => row.map((weight, x) => ({ weight, x, y })));
  const strongest = Math.max(...cells.map((cell) => cell.weight));
  if (strongest * cells.length < 2 * EVEN) {
    return "all over the photo";
  }
  const strong = cells.filter((cell) => cell.weight >= strongest / 2);
  const total = strong.reduce((sum, cell) => sum + cell.weight, 0);
  const mean = (axis) => strong.reduce((sum, cell) => sum + cell.weight * cell[axis], 0) / total;
  const third = (value, size) => Math.min(2, Math.floor((3 * (value + 0.5)) / size));
  const across = ["left", "", "right"][third(mean("x"), map[0].length)];
  const down = ["top", "", "bottom"][third(mean("y"), map.length)];
  return `at the ${[down, across].filter(Boolean).join(" ") || "middle"}`;
}

function greyOf(image, { width, height }) {
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0, width, height);
  const { data } = context.getImageData(0, 0, width, height);
  const grey = new Float32Array(width * height);
  for (let i = 0; i < grey.length; i++) {
    grey[i] = 0.299 * data[4 * i] + 0.587 * data[4 * i + 1] + 0.114 * data[4 * i + 2];
  }
  return grey;
}

/** Return the map at each pixel, in multiples of an even share; see stretch() in the model. */
function stretch(map, width, height) {
  const rows = map.length, columns = map[0].length;
  const down = cellWeights(height, rows), across = cellWeights(width, columns);
  const shares = new Float32Array(width * height);
  const line = new Float32Array(columns);
  for (let y = 0; y < height; y++) {
    line.fill(0);
    for (let row = 0; row < rows; row++) {
      for (let column = 0; column < columns; column++) {
        line[column] += down[y * rows + row] * map[row][column] * rows * columns;
      }
    }
    for (let x = 0; x < width; x++) {
      let share = 0;
      for (let column = 0; column < columns; column++) {
        share += across[x * columns + column] * line[column];
      }
      shares[y * width + x] = share;
    }
  }
  return shares;
}

/** Return the weight of each cell in each pixel along one side. */
function cellWeights(pixels, cells) {
  const weights = new Float32Array(pixels * cells);
  for (let pixel = 0; pixel < pixels; pixel++) {
    const own = weights.subarray(pixel * cells, (pixel + 1) * cells);
    const position = ((pixel + 0.5) * cells) / pixels;
    own.forEach((_, cell) => {
      own[cell] = Math.exp(-0.5 * ((position - cell - 0.5) / SMOOTHING) ** 2);
    });
    const sum = own.reduce((total, weight) => total + weight, 0);
    own.forEach((weight, cell) => (own[cell] = weight / sum));
  }
  return weights;
}
