'use strict';
// How numbers are shown. What is not known is a dash.

const unknown = '–';

function isKnown(value) { return value !== null && value !== undefined && Number.isFinite(value); }

// 12,345
function showCount(value) {
  return isKnown(value) ? Math.round(value).toLocaleString('en-US') : unknown;
}

// 12.3k, 4.56M: for axes and large rates.
function showShort(value) {
  if (!isKnown(value)) return unknown;
  for (const [size, letter] of [[1e9, 'G'], [1e6, 'M'], [1e3, 'k']]) {
    if (Math.abs(value) >= 9.9995 * size || (Math.abs(value) >= size && size > 1e3)) {
      return trimmed((value / size).toPrecision(3)) + letter;
    }
  }
  return Math.abs(value) >= 1000 ? showCount(value) : trimmed(value.toPrecision(4));
}

// Without zeros at the end of a fraction, and without an exponent below 1e6.
function trimmed(text) {
  return text.includes('e') ? String(Number(text)) :
                              text.replace(/(\.\d*?)0+$/, '$1').replace(/\.$/, '');
}

function showLoss(value) { return isKnown(value) ? value.toFixed(4) : unknown; }

// 3e-4, 1.25e-3, 0.02
function showRate(value) {
  if (!isKnown(value)) return unknown;
  if (value === 0 || Math.abs(value) >= 0.01) return trimmed(value.toPrecision(3));
  return value.toExponential(2).replace(/\.?0+e/, 'e');
}

function showPercent(share) {
  return isKnown(share) ? trimmed((100 * share).toPrecision(3)) + '%' : unknown;
}

function showDifference(value) {
  if (!isKnown(value)) return unknown;
  return (value < 0 ? '−' : '+') + Math.abs(value).toFixed(4);
}

function showSeconds(seconds) {
  if (!isKnown(seconds)) return unknown;
  if (seconds < 99.5)
    return `${seconds < 9.95 ? trimmed(seconds.toFixed(1)) : Math.round(seconds)} s`;
  if (seconds < 5970) return `${Math.round(seconds / 60)} min`;
  return `${trimmed((seconds / 3600).toPrecision(3))} h`;
}

// A mean over seeds with its standard deviation, to the same place.
function showSpread(spread, digits) {
  if (!isKnown(spread.mean)) return unknown;
  const deviation = isKnown(spread.deviation) ? ` ± ${spread.deviation.toFixed(digits)}` : '';
  return spread.mean.toFixed(digits) + deviation;
}

function digitsOfPerplexity(value) { return value >= 100 ? 1 : value >= 10 ? 2 : 3; }

// Steps over seeds: their range where they differ.
function showSteps(steps) {
  if (!isKnown(steps.mean)) return unknown;
  if (steps.least === steps.most) return showCount(steps.least);
  return `${showCount(steps.least)}–${showCount(steps.most)}`;
}
