// Lines of a chart: {name, what, colour, look, xs, ys, label, read, marker, errors}. look is a
// class of the style sheet: faint, bold, planned, raw or average-N.

// The path of an SVG; a value that is not known leaves a gap.
function pathOf(line, frame) {
  let text = '', pen = 'M';
  for (let i = 0; i < line.xs.length; ++i) {
    if (!isKnown(line.ys[i])) {
      pen = 'M';
      continue;
    }
    text += `${pen}${frame.x(line.xs[i]).toFixed(1)} ${frame.y(line.ys[i]).toFixed(1)}`;
    pen = 'L';
  }
  return text;
}

const shapes = {
  circle: (x, y, r) => svg('circle', {cx: x, cy: y, r}),
  square: (x, y, r) => svg('rect', {x: x - r, y: y - r, width: 2 * r, height: 2 * r}),
  diamond: (x, y, r) => svg(
      'path',
      {d: `M${x} ${y - 1.35 * r}L${x + 1.35 * r} ${y}L${x} ${y + 1.35 * r}L${x - 1.35 * r} ${y}Z`}),
  triangle: (x, y, r) =>
      svg('path', {d: `M${x} ${y - 1.2 * r}L${x + 1.2 * r} ${y + r}L${x - 1.2 * r} ${y + r}Z`}),
  cross: (x, y, r) =>
      svg('path', {d: `M${x - r} ${y - r}L${x + r} ${y + r}M${x - r} ${y + r}L${x + r} ${y - r}`}),
};
const shapeNames = ['circle', 'square', 'diamond', 'triangle'];

// Markers stand some way apart; the last value always has one.
function drawMarkers(line, frame, group) {
  let before = -Infinity;
  const last = line.ys.length - 1;
  for (let i = 0; i <= last; ++i) {
    const x = frame.x(line.xs[i]);
    if (!isKnown(line.ys[i]) || x < frame.left - 1 || x > frame.right + 1) continue;
    if (x - before < 26 && i < last) continue;
    group.append(shapes[line.marker ?? 'circle'](x, frame.y(line.ys[i]), 3.2));
    before = x;
  }
}

function drawErrors(line, frame, group) {
  line.errors.forEach((error, i) => {
    if (!isKnown(error) || !isKnown(line.ys[i])) return;
    const x = frame.x(line.xs[i]), top = frame.y(line.ys[i] + error),
          bottom = frame.y(line.ys[i] - error);
    group.append(svg('path', {
      d: `M${x} ${top}V${bottom}M${x - 4} ${top}H${x + 4}M${x - 4} ${bottom}H${x + 4}`,
      class: 'error'
    }));
  });
}

function drawLine(line, frame) {
  const group = svg('g', {class: `line ${line.look} c${line.colour}`});
  group.append(svg('path', {d: pathOf(line, frame), class: 'stroke'}));
  if (line.marker || line.xs.length === 1) drawMarkers(line, frame, group);
  if (line.errors) drawErrors(line, frame, group);
  return group;
}

function meets(a, b) {
  return a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
}

// The last point of a line that is in the frame.
function endOf(line, frame) {
  for (let i = line.xs.length - 1; i >= 0; --i) {
    const x = frame.x(line.xs[i]), y = frame.y(line.ys[i]);
    if (isKnown(line.ys[i]) && x >= frame.left && x <= frame.right + 0.5 && y >= frame.top)
      return {x, y};
  }
  return null;
}

// Names at the ends of lines, where there is room for one; those that find none are in the legend.
function drawLabels(lines, frame) {
  const group = svg('g', {class: 'labels'});
  const taken = [];
  for (const line of lines.filter((each) => each.label)) {
    const end = endOf(line, frame);
    if (!end) continue;
    const text = clipped(line.label, 24), width = 7 * text.length + 4;
    for (const [dx, dy] of [
             [8, 4], [8, -8], [8, 16], [8, 28], [8, -20], [8, 40], [-width - 6, -8],
             [-width - 6, 18]]) {
      const box = {
        left: end.x + dx,
        right: end.x + dx + width,
        top: end.y + dy - 11,
        bottom: end.y + dy + 3
      };
      if (box.right > frame.width || box.top < 0 || box.bottom > frame.bottom ||
          taken.some((other) => meets(box, other)))
        continue;
      taken.push(box);
      group.append(svg('text', {x: box.left, y: end.y + dy, class: `label c${line.colour}`}, text));
      break;
    }
  }
  return group;
}

// The nearest value that can be read off: {line, index}.
function nearest(lines, frame, x, y) {
  let best = null, least = Infinity;
  for (const line of lines.filter((each) => each.read)) {
    for (let i = 0; i < line.xs.length; ++i) {
      if (!isKnown(line.ys[i])) continue;
      const dx = frame.x(line.xs[i]) - x, dy = (frame.y(line.ys[i]) - y) / 3;
      if (dx * dx + dy * dy < least) {
        least = dx * dx + dy * dy;
        best = {line, index: i};
      }
    }
  }
  return best;
}
