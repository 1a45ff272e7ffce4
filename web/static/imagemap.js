// Maps over the patches or pixels of an image: blue raises the metric, orange lowers it, as in the report.

const RAISES = [31, 111, 178];
const LOWERS = [217, 115, 13];
const OPACITY = 0.8; // of the largest magnitude

// The maps of one read-out: the mean over images, and those of single images, each with axes such as layer and head.
export class ImageMaps {
  constructor({ facts, arrays }) {
    this.facts = facts;
    this.arrays = arrays;
    [this.rows, this.columns] = arrays.mean.shape.slice(-2);
  }

  // Returns the map of an image (by content hash), or the mean map for null, at `places`: by axis a position, or null for the sum.
  // Values are shares of the largest magnitude, `scale`; null if there is no such map.
  at(hash, places) {
    const image = hash === null ? 0 : this.facts.hashes.indexOf(hash);
    if (image < 0) return null;
    const { values } = hash === null ? this.arrays.mean : this.arrays.images;
    const size = this.rows * this.columns;
    const sum = new Float32Array(size);
    for (const start of this.#starts(image, places)) {
      for (let i = 0; i < size; i++) sum[i] += values[start * size + i];
    }
    return { values: sum, scale: hash === null ? this.facts.scale : this.facts.images_scale };
  }

  // Yields the numbers of the single maps that are added up.
  *#starts(image, places, axis = 0) {
    const { axes } = this.facts;
    if (axis === axes.length) {
      yield image;
      return;
    }
    const { name, labels } = axes[axis];
    const chosen = places[name] ?? null;
    for (const place of chosen === null ? labels.keys() : [chosen]) yield* this.#starts(image * labels.length + place, places, axis + 1);
  }
}

// Paints a map into a canvas of one pixel per patch; `largest` is the magnitude of the darkest value.
export function paint(canvas, { values }, rows, columns, largest) {
  Object.assign(canvas, { width: columns, height: rows });
  const context = canvas.getContext("2d");
  const picture = context.createImageData(columns, rows);
  for (let i = 0; i < values.length; i++) {
    const colour = values[i] > 0 ? RAISES : LOWERS;
    for (let part = 0; part < 3; part++) picture.data[4 * i + part] = colour[part];
    picture.data[4 * i + 3] = Math.round(255 * OPACITY * Math.min(1, Math.abs(values[i]) / (largest || 1)));
  }
  context.putImageData(picture, 0, 0);
}

// Returns a map in numbers: sums of positive and of negative values, the value of largest magnitude and its place.
export function summary({ values, scale }, columns) {
  let positive = 0, negative = 0, place = 0;
  values.forEach((value, i) => {
    if (value > 0) positive += value;
    else negative += value;
    if (Math.abs(value) > Math.abs(values[place])) place = i;
  });
  const [row, column] = [Math.floor(place / columns), place % columns];
  return { positive: positive * scale, negative: negative * scale, largest: values[place] * scale, row, column };
}
