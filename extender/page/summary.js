// The line of totals above, and the legend below.

import { sample, sampleLine } from "./diagram.js";
import { h } from "./dom.js";
import { STATE } from "./words.js";

const STATES = Object.entries(STATE);

const FAMILIES = [
  ["nvswitch", "NVSwitch"],
  ["nvlink", "NVLink"],
  ["switch", "PCIe switch"],
  ["host", "host bridge, NUMA"],
  ["sys", "across sockets"],
  ["unknown", "not known"],
];

/** How many GPUs there are in each state, as a bar and in words. */
export function drawTotals(element, totals) {
  const present = STATES.filter(([state]) => totals[state] > 0);
  const bar = h("div", { class: "stack", "aria-hidden": "true" }, present.map(([state]) => segment(state, totals[state])));
  const said = present.map(([state, name]) =>
    h("li", { class: state }, h("b", {}, totals[state].toLocaleString("en")), ` ${name}`),
  );
  element.replaceChildren(bar, h("ul", {}, said));
}

function segment(state, size) {
  const element = h("span", { class: state });
  element.style.flexGrow = size;
  return element;
}

export function drawLegend(element) {
  const states = STATES.slice(0, -1).map(([state, name]) => h("li", {}, sample({ state }), name));
  const guess = h("li", {}, sample({ state: "held", basis: "predicted" }), "expected");
  const links = FAMILIES.map(([family, name]) => h("li", {}, sampleLine(family), name));
  element.replaceChildren(h("ul", {}, states, guess), h("ul", {}, links), h("p", {}, "wider is faster"));
}
