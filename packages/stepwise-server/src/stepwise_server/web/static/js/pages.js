// A table of any length: pages of rows, of which only those near the window are in the document.

import { h, show } from "./dom.js";

const NEAR = "1200px 0px"; // drawn before they are seen

// `row(item)` makes a <tr>; `more()` is called when the end comes near.
export function pagedTable(place, head, row, more) {
  const pages = [];
  const end = h("div", { style: "height: 1px" });
  const table = h("table", {}, head);
  const observer = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      const page = pages.find(({ body }) => body === target);
      if (page) isIntersecting ? draw(page) : blank(page);
      else if (isIntersecting) more();
    }
  }, { rootMargin: NEAR });
  show(place, table, end);
  observer.observe(end);

  function draw(page) {
    const focus = page.body.contains(document.activeElement) ? document.activeElement.dataset.key : null;
    page.drawn = true;
    page.body.replaceChildren(...page.items.map(row));
    if (focus) page.body.querySelector(`[data-key="${CSS.escape(focus)}"]`)?.focus();
  }

  // A row as high as all that it stands for, so that nothing moves.
  function blank(page) {
    if (!page.drawn) return;
    page.drawn = false;
    page.body.replaceChildren(h("tr", { style: `height: ${page.body.offsetHeight}px` }, h("td", { colSpan: 99 })));
  }

  return {
    add(items) {
      const page = { items, body: h("tbody") };
      pages.push(page);
      table.append(page.body);
      draw(page);
      observer.observe(page.body);
      observer.unobserve(end); // asked again: it may still be near
      observer.observe(end);
    },
    visible: () => pages.filter(({ drawn }) => drawn).flatMap(({ items }) => items),
    // Puts items in the place of those with the same id; what is new comes first.
    update(items, first) {
      const byId = new Map(items.map((item) => [item.id, item]));
      for (const page of pages) {
        page.items = page.items.map((item) => byId.get(item.id) ?? item);
        for (const { id } of page.items) byId.delete(id);
      }
      if (first && pages[0]) pages[0].items = [...byId.values(), ...pages[0].items];
      for (const page of pages) if (page.drawn) draw(page);
    },
    redraw() { for (const page of pages) if (page.drawn) draw(page); },
    close: () => observer.disconnect(),
  };
}
