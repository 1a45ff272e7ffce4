// Reads answers in the format safetensors: eight bytes with the length of a JSON header, the header, the numbers.

const READERS = {
  F16: (buffer, start, end) => halves(new Uint16Array(buffer.slice(start, end))),
  F32: (buffer, start, end) => new Float32Array(buffer.slice(start, end)),
  I32: (buffer, start, end) => new Int32Array(buffer.slice(start, end)),
  U8: (buffer, start, end) => new Uint8Array(buffer.slice(start, end)),
};

// Returns {facts, arrays: {name: {shape, values}}}.
export function readArrays(buffer) {
  const length = Number(new DataView(buffer).getBigUint64(0, true));
  const { __metadata__: metadata, ...tensors } = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 8, length)));
  const arrays = {};
  for (const [name, { dtype, shape, data_offsets: [start, end] }] of Object.entries(tensors)) {
    arrays[name] = { shape, values: READERS[dtype](buffer, 8 + length + start, 8 + length + end) };
  }
  return { facts: JSON.parse(metadata.facts), arrays };
}

// Returns numbers of 16 bits as Float32Array: browsers of 2024 have no Float16Array.
function halves(bits) {
  const table = (halves.table ??= Float32Array.from({ length: 65536 }, (_, i) => half(i)));
  const values = new Float32Array(bits.length);
  for (let i = 0; i < bits.length; i++) values[i] = table[bits[i]];
  return values;
}

function half(bits) {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : 2 ** -14 * (fraction / 1024));
}
