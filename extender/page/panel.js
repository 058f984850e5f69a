// Opens and closes the panel beside the views, and keeps it up to date without taking the focus away.

import { h } from "./dom.js";

/** @param changed called when it has been opened on something else, or closed */
export class Panel {
  #aside;
  #changed;
  #opener = null;
  #draw = null;

  constructor(aside, changed) {
    this.#aside = aside;
    this.#changed = changed;
    aside.addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.close();
    });
  }

  /** What is open, a machine's or a pod's name; null if nothing is. */
  subject = null;

  /**
   * @param subject `{machine}` or `{pod}`
   * @param draw returns what is in the panel
   */
  open(subject, draw) {
    if (this.#aside.hidden) this.#opener = targetOf(document.activeElement);
    this.subject = subject;
    this.#draw = draw;
    this.#aside.hidden = false;
    this.#fill();
    this.#aside.scrollTop = 0;
    this.#aside.querySelector("h2").focus({ preventScroll: true });
    this.#changed();
  }

  /** Draw again what is open, because it may have changed. */
  refresh() {
    if (this.#draw === null) return;
    const isWithin = this.#aside.contains(document.activeElement);
    const focused = isWithin ? targetOf(document.activeElement) : null;
    const { scrollTop } = this.#aside;
    this.#fill();
    this.#aside.scrollTop = scrollTop;
    const again = focused && found(focused, this.#aside);
    if (isWithin) (again || this.#aside.querySelector("h2")).focus({ preventScroll: true });
  }

  close() {
    if (this.#draw === null) return;
    this.#aside.hidden = true;
    this.#draw = this.subject = null;
    this.#changed();
    if (this.#opener) found(this.#opener, document.body)?.focus();
    this.#opener = null;
  }

  #fill() {
    const close = h("button", { type: "button", class: "close", "data-close": "", onclick: () => this.close() }, "Close");
    this.#aside.replaceChildren(close, ...this.#draw().filter((node) => node !== null));
  }
}

/** How to find an element again once it has been drawn anew. */
function targetOf(element) {
  const name = ["machine", "pod", "close"].find((key) => element?.dataset?.[key] !== undefined);
  return name ? { name, value: element.dataset[name] } : null;
}

function found({ name, value }, within) {
  return [...within.querySelectorAll(`[data-${name}]`)].find((element) => element.dataset[name] === value) ?? null;
}
