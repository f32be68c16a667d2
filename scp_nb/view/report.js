// What the page does beyond being read: light or dark, search, arrow keys on the cards, one cluster large, the map and what it chooses.
const root = document.documentElement, dark = matchMedia('(prefers-color-scheme: dark)')
const $ = (s, at = document) => at.querySelector(s), $$ = (s, at = document) => [...at.querySelectorAll(s)]
const kept = { get: () => { try { return localStorage.getItem('scp-theme') } catch { return null } },
               set: v => { try { v ? localStorage.setItem('scp-theme', v) : localStorage.removeItem('scp-theme') } catch {} } }
if (kept.get()) root.dataset.theme = kept.get()
root.classList.add('js')

function theme() {
  const button = $('#theme'), now = () => root.dataset.theme || (dark.matches ? 'dark' : 'light')
  const say = () => { const other = now() == 'dark' ? 'Light' : 'Dark'; button.textContent = other; button.setAttribute('aria-label', `${other} colours`) }
  button.onclick = () => {
    const want = now() == 'dark' ? 'light' : 'dark', same = want == (dark.matches ? 'dark' : 'light')
    if (same) delete root.dataset.theme; else root.dataset.theme = want
    kept.set(same ? null : want); say()
  }
  dark.addEventListener('change', say); say()
}

// Clusters as the page knows them: its card, the row in the list of sizes, all its names, and the number of the first among all
function clusters(names) {
  const first = {}
  let sum = 0
  for (const [id, [list]] of Object.entries(names)) { first[id] = sum; sum += list.length }
  return $$('.card').map(card => ({ card, id: card.id, title: $('h3', card).textContent, names: (names[card.id] || [[], []])[0], p: (names[card.id] || [[], []])[1],
    first: first[card.id] || 0, row: $(`.sizes a[href="#${card.id}"]`)?.parentNode, found: true, kept: true }))
}
function put(c) { const yes = c.found && c.kept; c.card.hidden = !yes; if (c.row) c.row.hidden = !yes }   // by the search and by the filters of the map

function cut(name, query) {   // a name with what was searched for marked; text only, never markup
  const b = make('b'), at = name.toLowerCase().indexOf(query)
  if (at < 0) b.textContent = name
  else b.append(name.slice(0, at), make('mark', '', name.slice(at, at + query.length)), name.slice(at + query.length))
  b.title = name
  return b
}

function search(all, map, pictures) {
  const input = $('#q'), found = $('#found'), list = $('.hits'), most = 60
  const hit = (c, i, query) => {
    const li = make('li'), a = make('a'), img = pictures.get(c.names[i])?.cloneNode(), box = make('span', 'dot-box'), words = make('span')
    a.href = `#${c.id}`; box.style.setProperty('--c', c.card.style.getPropertyValue('--c'))
    words.style.minWidth = 0; words.append(cut(c.names[i], query), make('span', 'soft small', c.title))
    a.append(img || box, words, make('span', 'soft small num', c.p[i] == null ? '' : `.${String(Math.min(c.p[i], 99)).padStart(2, 0)}`)); li.append(a)
    return li
  }
  const run = () => {
    const query = input.value.trim().toLowerCase(), hits = []
    const marked = new Set()
    let images = 0, shown = 0
    for (const c of all) {
      const named = query && c.title.toLowerCase().includes(query)
      const rows = query ? c.names.flatMap((n, i) => n.toLowerCase().includes(query) ? [i] : []) : []
      const keep = !query || named || rows.length > 0
      c.found = keep; put(c)
      if (query) for (const i of named ? c.names.keys() : rows) marked.add(c.first + i)
      shown += keep; images += rows.length
      for (const i of rows) if (hits.length < most) hits.push([c, i])
    }
    found.hidden = !query; list.replaceChildren(...hits.map(([c, i]) => hit(c, i, query)))
    map?.mark(query && marked.size ? marked : null)
    $('#status').textContent = !query ? '' : shown ? `${some(shown, 'cluster')} and ${some(images, 'file name')} match “${input.value.trim()}”` + (images > most ? `; the first ${most} files:` : '') : `Nothing matches “${input.value.trim()}”. Try part of a file name, a caption or a cluster's number.`
    roam(all)
  }
  let soon
  input.oninput = () => { clearTimeout(soon); soon = setTimeout(run, 90) }
  input.onkeydown = e => { if (e.key == 'Escape') { input.value = ''; run() } }
  $('.find').onsubmit = e => { e.preventDefault(); run() }
  document.addEventListener('keydown', e => { if (e.key == '/' && !e.target.closest('input,dialog')) { e.preventDefault(); input.focus() } })
  return { clear: () => { if (input.value) { input.value = ''; run() } } }
}

const openers = all => all.filter(c => !c.card.hidden).map(c => $('a.open', c.card))
function reach(links, a) { for (const l of links) { const b = $('.onmap', l.closest('.card')); l.tabIndex = l == a ? 0 : -1; if (b) b.tabIndex = l.tabIndex } }
function roam(all) { const links = openers(all); reach(links, links[0]) }   // one card in the tab order, arrows for the others
function arrows(all) {
  roam(all)
  $('.cards').addEventListener('keydown', e => {
    const links = openers(all), i = links.indexOf(e.target)
    if (i < 0 || e.altKey || e.ctrlKey || e.metaKey) return
    const columns = getComputedStyle($('.cards')).gridTemplateColumns.split(' ').length
    const to = { ArrowRight: i + 1, ArrowLeft: i - 1, ArrowDown: i + columns, ArrowUp: i - columns, Home: 0, End: links.length - 1 }[e.key]
    if (to === undefined) return
    e.preventDefault()
    const next = links[Math.max(0, Math.min(links.length - 1, to))]
    reach(links, next); next.focus(); next.closest('.card').scrollIntoView({ block: 'nearest' })
  })
}

function large(all) {
  const view = $('#view'), body = $('.in', view)
  let now
  const block = (label, pictures) => {
    const grid = make('div', 'large')
    for (const p of pictures) { const f = make('figure'), name = p.alt || p.getAttribute('aria-label'), copy = p.cloneNode(true); copy.removeAttribute('loading'); const n = make('figcaption', 'name', name.split('/').pop()); n.title = p.title; f.append(copy, n); grid.append(f) }
    return pictures.length ? [make('p', 'label', label), grid] : []
  }
  const show = c => {
    now = c
    const groups = $$('.thumbs', c.card).map(t => [...t.children])
    const dot = $('.dot', c.card).cloneNode(true), most = 600
    $('.top .dot', view).replaceWith(dot); $('h2', view).textContent = c.title; view.scrollTop = 0
    body.replaceChildren(make('p', 'soft', $('.under', c.card).dataset.all), ...block('most central', groups[0] || []), ...block('least certain', groups[1] || []))
    if (c.names.length) {
      const d = make('details'), ul = make('ul', 'files')
      d.append(make('summary', '', c.names.length > most ? `${most} of ${c.names.length.toLocaleString('en')} file names` : 'All file names'), ul)
      d.ontoggle = () => { if (d.open && !ul.children.length) ul.append(...c.names.slice(0, most).map(n => { const li = make('li', '', n); li.title = n; return li })) }
      body.append(d)
    }
  }
  const step = by => { const here = all.filter(c => !c.card.hidden); show(here[(here.indexOf(now) + by + here.length) % here.length]) }
  for (const c of all) {
    const a = $('a.open', c.card), open = () => { show(c); view.showModal() }
    a.setAttribute('aria-haspopup', 'dialog')
    c.card.onclick = e => { const link = e.target.closest('a,button'); if ((link && link != a) || e.ctrlKey || e.metaKey || String(getSelection())) return; e.preventDefault(); open() }
  }
  $('#before').onclick = () => step(-1); $('#after').onclick = () => step(1); $('#close').onclick = () => view.close()
  view.addEventListener('keydown', e => { if (e.key == 'ArrowLeft') step(-1); else if (e.key == 'ArrowRight') step(1); else return; e.preventDefault() })
  view.onclick = e => { if (e.target == view) view.close() }
  view.onclose = () => { const links = openers(all), mine = $('a.open', now.card); reach(links, mine); mine.focus(); now.card.scrollIntoView({ block: 'nearest' }) }
}

// The map, and what it shares with the cards: clusters and the range of confidence that are chosen
function explore(all, listed, pictures) {
  const data = $('#places'), box = $('.explore')
  if (!data) return null
  const d = JSON.parse(data.textContent), names = [], owner = [], sure = [], number = new Map(d.clusters.map((c, j) => [c.id, j]))
  for (const [id, [list, p]] of Object.entries(listed)) for (let i = 0; i < list.length; i++) { names.push(list[i]); sure.push(p[i]); owner.push(number.get(id) ?? -1) }
  const at = bytesOf(d.at, Uint32Array), places = bytesOf(d.places, Uint16Array), tile = d.tile && bytesOf(d.tile, Int32Array), n = at.length
  const x = new Float32Array(n), y = new Float32Array(n), cluster = new Uint16Array(n), p = new Uint8Array(n)
  for (let i = 0; i < n; i++) { x[i] = places[2 * i] * d.step; y[i] = places[2 * i + 1] * d.step; cluster[i] = owner[at[i]]; p[i] = sure[at[i]] }
  const buttons = all.map(c => [c, $('.onmap', c.card)]).filter(([, b]) => b), range = $$('.thumbs', $('.cards')).length ? all.flatMap(c => $$('.thumbs > *', c.card).map(t => [c, t])) : []
  const point = new Map(); for (const c of all) c.names.forEach((name, i) => point.set(name, c.p[i]))
  box.hidden = false; $('#map').classList.add('explored'); $('#map .moving').hidden = false
  const map = exploreMap(box, { ...d, n, x, y, cluster, p, at: i => at[i], name: i => names[at[i]], tile: i => tile ? tile[i] : -1 }, {
    open: id => { if (location.hash == `#${id}`) document.getElementById(id)?.scrollIntoView(); else location.hash = id },
    picture: i => { const im = pictures.get(names[at[i]])?.cloneNode(); if (im) { im.loading = 'eager'; im.alt = '' } return im },
    filtered: f => {
      for (const c of all) { c.kept = f.all || (f.kept[c.id] || 0) > 0; put(c); const n = f.kept[c.id] || 0, part = !f.all && n < c.names.length; $('.share', c.card).textContent = (part ? `${n.toLocaleString('en')} of ` : '') + (+c.card.dataset.size).toLocaleString('en') }
      for (const [c, b] of buttons) b.setAttribute('aria-pressed', f.only.includes(c.id))
      for (const [, t] of range) { const v = point.get(t.alt || ''); t.classList.toggle('out', v !== undefined && (v < f.low || v > f.high)) }
      const some = all.filter(c => c.kept).length
      $('#chosen').hidden = f.all; $('#chosen span').textContent = `The filters of the map show ${some.toLocaleString('en')} of ${all.length.toLocaleString('en')} clusters.`
      roam(all)
    } })
  $('#chosen button').onclick = () => map.clear()
  for (const [c, b] of buttons) b.onclick = () => { const now = map.chosen(); map.only(now.includes(c.id) ? now.filter(id => id != c.id) : [...now, c.id]) }
  box.explore = map
  return map
}

// Coarser levels: cards stand below the heading of their group, which is of clusters joined in the order that the page holds
function groups(map) {
  const range = $('#level'), box = $('.cards')
  if (!range) return
  const joins = JSON.parse(range.dataset.joins), cards = [...box.children], said = $('.groups output')
  const size = cards => cards.reduce((sum, c) => sum + +c.dataset.size, 0)
  const run = () => {
    const top = groupOf(joins, range.max - range.value), found = new Map()
    for (const c of cards) found.set(top(c.id), [...found.get(top(c.id)) || [], c])
    const alone = range.value == range.max, many = [...found.values()].sort((a, b) => size(b) - size(a))
    map?.group(alone ? id => id : id => found.get(top(id))?.[0].id)
    said.textContent = groupWords(range)
    box.replaceChildren(...alone ? cards : many.flatMap(group => {
      const h = make('h3', 'group', some(group.length, 'cluster'))
      h.append(make('span', 'soft num', `, ${size(group).toLocaleString('en')} images`))
      return [h, ...group]
    }))
  }
  range.oninput = run
  run()
}

addEventListener('DOMContentLoaded', () => {
  $$('.needs-js').forEach(e => e.hidden = false)
  theme()
  const listed = JSON.parse($('#names').textContent), pictures = new Map($$('.card img').map(i => [i.alt, i]))
  const all = clusters(listed), map = explore(all, listed, pictures), find = search(all, map, pictures)
  arrows(all); large(all); groups(map)
  const go = () => { const card = location.hash && document.getElementById(location.hash.slice(1)); if (card?.hidden) { find.clear(); if (card.hidden) map?.clear(); card.scrollIntoView() } }
  const list = $('#pick')
  if (list) $('#save-pick').onclick = () => saveTable('label_next.csv', [['name', 'cluster', 'reason'], ...JSON.parse(list.textContent)])
  addEventListener('hashchange', go)
})
