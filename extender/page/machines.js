// The view of all machines: one card each.

import { diagram, SET_STYLES } from "./diagram.js";
import { h } from "./dom.js";
import { VirtualList } from "./virtual.js";
import * as words from "./words.js";

const PODS_ON_A_CARD = 3;

/**
 * @param open called with a machine's name
 * @param isOpen whether a machine, by name, is shown in the panel
 */
export function machinesView(scroller, open, isOpen) {
  const list = h("ul", { class: "machines", "aria-label": "Machines" });
  const nothing = h("p", { class: "nothing", hidden: true }, "No machine is like that.");
  scroller.replaceChildren(nothing, list);
  const make = (machine, index, total) => card(machine, index, total, open, isOpen);
  const keyOf = (machine) => machine.name;
  const virtual = new VirtualList(scroller, list, { rowHeight: 152, gap: 8, least: 312, make, keyOf });
  return {
    show(machines) {
      nothing.hidden = machines.length > 0;
      list.hidden = machines.length === 0;
      virtual.show(machines);
    },
    close: () => virtual.close(),
  };
}

function card(machine, index, total, open, isOpen) {
  const trouble = words.trouble(machine);
  const label = [machine.name, words.model(machine.model), words.free(machine), trouble].filter(Boolean).join(", ");
  return h(
    "li",
    { class: "card", "aria-setsize": total, "aria-posinset": index + 1 },
    h("button", {
      type: "button",
      class: "cover",
      "aria-label": label,
      "aria-expanded": String(isOpen(machine.name)),
      "data-target": true,
      "data-machine": machine.name,
      onclick: () => open(machine.name),
    }),
    machine.gpus ? diagram(machine, "diagram") : h("div", { class: "diagram unknown", "aria-hidden": "true" }, "?"),
    h(
      "div",
      { class: "facts", "aria-hidden": "true" },
      h("h2", { title: machine.name }, machine.shortName),
      h("p", { class: "model", title: machine.model ?? "" }, words.model(machine.model)),
      h("p", { class: "free" }, words.free(machine)),
      h("p", { class: "best" }, words.largestSet(machine)),
      trouble ? h("p", { class: `trouble${machine.gpus ? "" : " whole"}`, title: trouble }, trouble) : null,
      h("ul", { class: "holders" }, holders(machine, trouble ? PODS_ON_A_CARD - 1 : PODS_ON_A_CARD)),
    ),
  );
}

function holders(machine, room) {
  const pods = machine.pods.map((pod, number) => ({ pod, number })).sort((a, b) => sizeOf(b.pod) - sizeOf(a.pod));
  const shown = pods.length > room ? pods.slice(0, room - 1) : pods;
  const items = shown.map(({ pod, number }) =>
    h(
      "li",
      { title: pod.pod },
      h("span", { class: `key ${pod.gpus?.length > 1 ? `set-${number % SET_STYLES}` : "single"}` }),
      h("span", { class: "name" }, pod.pod),
      h("span", { class: "size" }, sizeOf(pod) ? `×${sizeOf(pod)}` : "slices"),
    ),
  );
  if (pods.length > shown.length) items.push(h("li", { class: "more" }, `and ${pods.length - shown.length} more`));
  return items;
}

function sizeOf(pod) {
  return pod.gpus?.length || pod.claimed || (pod.gpus ? 0 : (pod.asks_for ?? 0));
}
