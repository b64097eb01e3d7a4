// What the machine did meanwhile: the same curves, of the resource monitor.

import { tab as scalars } from "./scalars.js";

export function tab(place, context) {
  return scalars(place, context, (metric) => metric.startsWith(":monitor"));
}
