// What the page is made of: see launch/report/page_json.cpp and series_json.h for the names.
const data = JSON.parse(document.getElementById('data').textContent);

// What is shown now. Charts are drawn anew when it changes.
const view = {
  shown: new Set(),  // of paths, by their places
  from: 0,           // of the steps on the axes
  to: 1,
  kinds: new Map(),   // training, validation, and averages by name: whether their losses are shown
  wholeRange: false,  // of losses: also those that are cut off
  printing: false,
};

const svgSpace = 'http://www.w3.org/2000/svg';

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === 'function')
      element.addEventListener(name, value);
    else
      element.setAttribute(name, value === true ? '' : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

// An element with its attributes (functions listen to events) and children; text is only ever text.
function el(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

function svg(name, attributes = {}, ...children) {
  return fill(document.createElementNS(svgSpace, name), attributes, children);
}

function clipped(text, letters) {
  return text.length <= letters ? text : text.slice(0, Math.max(1, letters - 1)) + '…';
}

const arms = data.versions ? data.versions.arms.map((arm) => arm.arm) : [];

// The versions that a path leads to: its own, and those of the paths that fork from it.
function findVersions() {
  const found = data.paths.map(() => []);
  if (!data.versions) return found;
  for (const version of data.versions.each) {
    let place = data.paths.findIndex((path) => path.name === version.path);
    for (let steps = 0; place >= 0 && steps <= data.paths.length; ++steps) {
      if (!found[place].includes(version)) found[place].push(version);
      place = data.paths[place].parent;
    }
  }
  return found;
}
const versionsOf = findVersions();

// Colours tell arms apart where there are several, otherwise paths.
function colourOf(place) {
  const version = versionsOf[place][0];
  if (arms.length > 1) return version ? arms.indexOf(version.arm) % 8 : 7;
  return place % 8;
}

// Places of all paths, each behind the one that it comes from, by fork step.
function treeOrder() {
  const order = [];
  const add = (place) => {
    if (order.includes(place)) return;
    order.push(place);
    data.paths.map((_, child) => child)
        .filter((child) => data.paths[child].parent === place)
        .sort((a, b) => data.paths[a].fork - data.paths[b].fork)
        .forEach(add);
  };
  data.paths.forEach((path, place) => path.parent < 0 && add(place));
  data.paths.forEach((_, place) => add(place));  // those that name each other as parents
  return order;
}

function commonFolder() {
  const folders = data.paths.map((path) => path.name.split('/').slice(0, -1));
  let depth = 0;
  while (folders.every((folder) => depth < folder.length && folder[depth] === folders[0][depth]))
    ++depth;
  return depth;
}

// For lines: without the folders that all have, or, where colours tell arms, without any.
function shortName(path) {
  const parts = path.name.split('/');
  return arms.length > 1 ? parts[parts.length - 1] : parts.slice(commonFolder()).join('/');
}

function lastStep() {
  return Math.max(1, ...data.paths.map((path) => Math.max(path.end, path.step, path.fork)));
}

function averageNames() {
  const names = new Set();
  for (const path of data.paths)
    Object.keys(path.validation?.averages ?? {}).forEach((n) => names.add(n));
  return [...names];
}

// All paths where they are few; otherwise one seed of each arm, or the first dozen.
function chooseShown() {
  const places = data.paths.map((_, place) => place);
  const seed = data.versions?.each[0]?.seed;
  const ofSeed =
      places.filter((place) => versionsOf[place].some((version) => version.seed === seed));
  if (places.length <= 12) return places;
  return ofSeed.length > 0 && ofSeed.length < places.length ? ofSeed : places.slice(0, 12);
}

function startView() {
  view.shown = new Set(chooseShown());
  view.to = lastStep();
  const validates = data.paths.some((path) => path.validation.step.length > 0);
  const every =
      data.paths.every((path, place) => !view.shown.has(place) || path.validation.step.length > 0);
  const many = every && view.shown.size > 6;
  for (const kind of ['training', ...(validates ? ['validation'] : []), ...averageNames()]) {
    view.kinds.set(kind, !many || kind === 'validation');
  }
}

function shownPaths() {
  return data.paths.map((path, place) => ({path, place}))
      .filter(({place}) => view.shown.has(place));
}
