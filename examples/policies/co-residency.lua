-- Co-residency: keeps models together as long as the GPU holds them; victims are the largest idle ones first, and a
-- reserve stays free for the caches of those that run.
-- Helps when a few models fit together only if the right one goes.
local C = luaswap.config

return {
  api = 1,
  name = 'co-residency',
  requires = { 'gpu' },
  settings = {
    reserve_mb = { type = 'number', default = 1024, min = 0, unit = 'MB', doc = 'memory that stays free' },
    grace = { type = 'number', default = 5, min = 0, unit = 's', doc = 'a model used so recently is not stopped' },
  },

  plan_swap = function(target)
    local plan = luaswap.builtin.plan_swap(target)
    if not plan.evict then return plan end
    local goes, room = {}, 0
    for _, id in ipairs(plan.evict) do goes[id] = true end
    for _, g in ipairs(luaswap.gpu()) do room = room + g.total_mb - g.foreign_mb end
    room = room - C.reserve_mb - target.vram_mb
    local rest = {}
    for _, m in ipairs(luaswap.running()) do
      if m.id ~= target.id and not goes[m.id] then
        room = room - m.vram_mb
        rest[#rest + 1] = m
      end
    end
    table.sort(rest, function(a, b) return a.vram_mb > b.vram_mb end)
    for _, m in ipairs(rest) do
      if room >= 0 then break end
      if m.state == 'ready' and m.inflight == 0 and m.idle >= C.grace and not m.pinned then
        plan.evict[#plan.evict + 1] = m.id
        room = room + m.vram_mb
      end
    end
    if room < 0 and #luaswap.running() > #plan.evict then return luaswap.hold(1, 'no room yet') end
    return plan
  end,
}
