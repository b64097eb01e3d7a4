// Debug samples: for each picture a slider over the iterations that have one.

import { call } from "../api.js";
import { h, ownFile, show } from "../dom.js";

export async function tab(place, { id }) {
  const samples = new Map();
  let scroll = null;
  for (let pages = 0; pages < 40; pages += 1) {
    const answer = await call("events.debug_images", { metrics: [{ task: id }], iters: 25, scroll_id: scroll, navigate_earlier: true });
    const { iterations } = answer.metrics[0];
    if (!iterations.length) break;
    scroll = answer.scroll_id;
    for (const { events } of iterations) for (const event of events) {
      const name = `${event.metric} / ${event.variant}`;
      samples.set(name, [event, ...(samples.get(name) ?? [])]);
    }
  }
  if (!samples.size) return show(place, h("p", { class: "soft" }, "No debug samples."));
  const filter = h("input", { type: "search", placeholder: "Name", "aria-label": "Filter samples", oninput: () => draw() });
  const list = h("div", { class: "samples" });
  const draw = () => show(list, [...samples].filter(([name]) => name.toLowerCase().includes(filter.value.toLowerCase())).map(([name, events]) => sample(name, events)));
  show(place, h("div", { class: "bar" }, filter), list);
  draw();
}

function sample(name, events) {
  const image = h("img", { alt: name, loading: "lazy", style: "cursor: zoom-in", onclick: () => enlarge(name, image.src) });
  const caption = h("div", { class: "soft" });
  const link = h("a", { target: "_blank", rel: "noopener" });
  const choose = (index) => {
    const event = events[index];
    const source = ownFile(event.url);
    caption.textContent = `iteration ${event.iter}`;
    if (source) image.src = source;
    image.hidden = !source;
    link.href = /^https?:/.test(event.url) ? event.url : "#";
    link.textContent = source ? "" : event.url;
  };
  choose(events.length - 1);
  const slider = h("input", { type: "range", min: 0, max: events.length - 1, value: events.length - 1, style: "width: 100%", "aria-label": `Iteration of ${name}`,
    oninput: () => choose(Number(slider.value)) });
  return h("div", { class: "card" }, h("b", {}, name), image, link, events.length > 1 && slider, caption);
}

function enlarge(name, source) {
  const dialog = h("dialog", { "aria-label": name, onclick: () => dialog.close(), onclose: () => dialog.remove() }, h("img", { src: source, alt: name }));
  document.body.append(dialog);
  dialog.showModal();
}
