// Where GPUs and links of a kind of machine are drawn, in a square of 120 by 120. No DOM.

export const SIZE = 120;
const CENTRE = SIZE / 2;
const NARROWEST = 0.75;
const DOUBLING = 0.8; // wider with each doubling from 12 GB/s on; the same for all machines, so that one can compare

/** How far GPUs are from the centre, and how large they are: smaller where there are many. */
export function measures(count) {
  if (count <= 8) return { ring: 47, radius: 10.5 };
  if (count <= 16) return { ring: 51, radius: 8 };
  return { ring: 55, radius: Math.max(2.2, Math.min(8, (Math.PI * 52) / count)) };
}

/** Clockwise, with the first GPU right of the top, so that the halves of a machine lie right and left. */
export function places(count) {
  if (count === 1) return [{ x: CENTRE, y: CENTRE }];
  const { ring } = measures(count);
  return Array.from({ length: count }, (_, index) => {
    const angle = (2 * Math.PI * (index + 0.5)) / count - Math.PI / 2;
    return { x: round(CENTRE + ring * Math.cos(angle)), y: round(CENTRE + ring * Math.sin(angle)) };
  });
}

/**
 * The lines of a kind, the slowest first. Where everything goes through switches each GPU has one line to the switch
 * in the middle: that is how it is wired.
 */
export function lines(kind) {
  const at = places(kind.gpus.length);
  if (isSwitched(kind)) {
    const width = widthOf(Math.max(...kind.links.map((link) => link.bandwidth_gbps)));
    return at.map((place) => ({ from: place, to: { x: CENTRE, y: CENTRE }, family: "nvswitch", width }));
  }
  return [...kind.links]
    .sort((a, b) => a.bandwidth_gbps - b.bandwidth_gbps)
    .map((link) => {
      const [first, second] = link.gpus;
      return { from: at[first], to: at[second], family: familyOf(link.kind), width: widthOf(link.bandwidth_gbps) };
    });
}

export function widthOf(gbps) {
  return round(Math.max(NARROWEST, NARROWEST + DOUBLING * Math.log2(gbps / 12)));
}

export function isSwitched(kind) {
  return kind.links.length > 0 && kind.links.every((link) => link.kind === "nvswitch");
}

/** Kinds of link that look alike. */
export function familyOf(kind) {
  if (kind === "nvswitch" || kind === "nvlink") return kind;
  if (kind === "PSB" || kind === "PIX" || kind === "PXB") return "switch";
  if (kind === "PHB" || kind === "NODE") return "host";
  return kind === "SYS" ? "sys" : "unknown";
}

function round(value) {
  return Math.round(value * 10) / 10;
}
