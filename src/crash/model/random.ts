/** Numbers that look random and are the same for the same seed and place: no state outlives the interval it is for. */

/** A source of whole numbers from 0 up to but without `below`. */
export type Random = (below: number) => number;

const mix = (value: number): number => {
  let x = value | 0;
  x = Math.imul(x ^ (x >>> 16), 0x21f0aaad);
  x = Math.imul(x ^ (x >>> 15), 0x735a2d97);
  return (x ^ (x >>> 15)) >>> 0;
};

/** @param place tells apart what is drawn with the same seed, such as the number of an entry */
export function randomAt(seed: number, place: number): Random {
  let state = mix(mix(seed) ^ mix(place + 0x9e3779b9) ^ mix(Math.floor(seed / 2 ** 32)));
  return (below) => {
    state = (state + 0x9e3779b9) | 0;
    return Math.floor((mix(state) / 2 ** 32) * below);
  };
}
