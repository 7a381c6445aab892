// Scales and axes of a chart.

// Round numbers within low ... high, about `count` of them.
function ticksOf(low, high, count) {
  const rough = (high - low) / Math.max(1, count);
  if (!(rough > 0)) return [low];
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((n) => n * power).find((n) => n >= rough * 0.999);
  const ticks = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; ++i)
    ticks.push(i * step);
  return ticks;
}

function scaleOf(low, high, begin, end) {
  const factor = high > low ? (end - begin) / (high - low) : 0;
  return (value) => begin + (value - low) * factor;
}

// Where the plot lies in the drawing, and how values become places in it.
function frameOf(spec, width, height, range) {
  const margin = spec.margin(width);
  const frame = {
    left: margin.left,
    right: width - margin.right,
    top: margin.top,
    bottom: height - margin.bottom
  };
  frame.width = width;
  frame.height = height;
  frame.range = range;
  frame.x = scaleOf(range.x[0], range.x[1], frame.left, frame.right);
  frame.y = scaleOf(range.y[0], range.y[1], frame.bottom, frame.top);
  return frame;
}

function drawYAxis(frame, show) {
  const group = svg('g', {class: 'axis'});
  const ticks = ticksOf(frame.range.y[0], frame.range.y[1], (frame.bottom - frame.top) / 42);
  for (const tick of ticks) {
    const y = frame.y(tick);
    group.append(svg('line', {x1: frame.left, x2: frame.right, y1: y, y2: y, class: 'grid'}));
    group.append(
        svg('text', {x: frame.left - 8, y: y + 4, 'text-anchor': 'end'}, show(tick, ticks)));
  }
  return group;
}

// With the fewest digits that tell neighbouring ticks apart.
function showTick(tick, ticks) {
  for (let digits = 0; digits < 8; ++digits) {
    if (ticks.every((each) => Math.abs(Number(each.toFixed(digits)) - each) < 1e-9)) {
      return tick.toFixed(digits);
    }
  }
  return tick.toExponential(2);
}

function drawXAxis(frame, spec) {
  const group = svg('g', {class: 'axis'});
  const ticks = spec.xTicks ?
      spec.xTicks() :
      ticksOf(frame.range.x[0], frame.range.x[1], (frame.right - frame.left) / 90);
  group.append(
      svg('line',
          {x1: frame.left, x2: frame.right, y1: frame.bottom, y2: frame.bottom, class: 'base'}));
  for (const tick of ticks) {
    const x = frame.x(tick);
    group.append(
        svg('line', {x1: x, x2: x, y1: frame.bottom, y2: frame.bottom + 4, class: 'base'}));
    group.append(svg('text', {x, y: frame.bottom + 18, 'text-anchor': 'middle'}, spec.showX(tick)));
  }
  group.append(
      svg('text', {x: frame.right, y: frame.bottom + 34, 'text-anchor': 'end', class: 'unit'},
          spec.xUnit));
  return group;
}
