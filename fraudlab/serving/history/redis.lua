-- A history in Redis: what redis.py asks for in one round trip, whole or not at all. redis_format.py says what is kept.
--
-- KEYS[1]: prefix of all keys. ARGV: what to do, the expected meta, number of keys, bytes of an id, bytes of an event,
-- whether ids are text, whether known labels are counted, whether labels have times, the labels' delay; then what the
-- function at the end reads. Times are whole doubles, so they are exact.
local prefix, keys, width, size = KEYS[1], tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local text, counted, label_times, delay = ARGV[6] == '1', ARGV[7] == '1', ARGV[8] == '1', tonumber(ARGV[9])
local head, DAY, DAYS = 8 + width, 86400000000, 131072
local at = 10

local function arg()
  at = at + 1
  return ARGV[at - 1]
end

local function less(a, b) -- as bytes; Lua's own comparison asks the locale
  for i = 1, math.min(#a, #b) do
    local x, y = a:byte(i), b:byte(i)
    if x ~= y then return x < y end
  end
  return #a < #b
end

-- The row of an id: known, fraud, then what its client sent: time, id where that is text, keys, the rest.
local function named(row)
  local time, place = struct.unpack('<d', row, 10)
  local word, names, long = nil, {}, 0
  word, place = struct.unpack('<I4c0', row, place)
  for k = 1, keys do
    long, place = struct.unpack('<I4', row, place) -- 0: missing, else one more than its bytes
    if long > 0 then
      names[#names + 1] = prefix .. 'k' .. k .. ':' .. row:sub(place, place + long - 2)
      place = place + long - 1
    end
  end
  return time, word, names
end

-- The events of a key: a string of records by time, then id.
local function record(name, i) return redis.call('GETRANGE', name, i * size, (i + 1) * size - 1) end

local function length(name) return redis.call('STRLEN', name) / size end

local function search(n, stands_before) -- number of records that stand before
  local low, high = 0, n
  if n > 0 and stands_before(n - 1) then return n end
  while low < high do
    local middle = math.floor((low + high) / 2)
    if stands_before(middle) then low = middle + 1 else high = middle end
  end
  return low
end

local function before(name, n, time, id, word)
  return search(n, function(i)
    local there = record(name, i)
    local moment, other = struct.unpack('<d', there), there:sub(9, head)
    if moment ~= time then return moment < time end
    if text and other ~= id then
      local row = redis.call('GET', prefix .. 't:' .. other)
      if not row then return true end -- forgotten
      local _, theirs = named(row)
      return less(theirs, word)
    end
    return less(other, id)
  end)
end

-- Where the record of a row stands; nil: it has none. Of rows of one time that are forgotten the texts are unknown, and
-- so is their order.
local function find(name, time, id, word)
  local n = length(name)
  local place = before(name, n, time, id, word)
  if record(name, place):sub(9, head) == id then return place end
  place = text and search(n, function(i) return struct.unpack('<d', record(name, i)) < time end) or n
  while place < n do
    local there = record(name, place)
    if struct.unpack('<d', there) ~= time then return nil end
    if there:sub(9, head) == id then return place end
    place = place + 1
  end
end

local function until_time(name, n, time)
  if n == 0 or struct.unpack('<d', record(name, 0)) > time then return 0 end
  return search(n, function(i) return struct.unpack('<d', record(name, i)) <= time end)
end

-- Known labels by day: sums over ranges of days (Fenwick), so that a sum of all before a day reads few fields.
local function count(day, labels, frauds)
  local i = math.max(1, math.min(tonumber(day) + DAYS + 1, 2 * DAYS))
  while counted and i <= 2 * DAYS do
    redis.call('HINCRBY', prefix .. 'labels', i, labels)
    if frauds ~= 0 then redis.call('HINCRBY', prefix .. 'frauds', i, frauds) end
    i = i + bit.band(i, -i)
  end
end

local function known_before(day)
  local i, fields, sums = math.max(0, math.min(tonumber(day) + DAYS, 2 * DAYS)), {}, { 0, 0 }
  while counted and i > 0 do
    fields[#fields + 1] = i
    i = i - bit.band(i, -i)
  end
  for which, what in ipairs(#fields > 0 and { 'labels', 'frauds' } or {}) do
    for _, value in ipairs(redis.call('HMGET', prefix .. what, unpack(fields))) do
      sums[which] = sums[which] + (tonumber(value) or 0)
    end
  end
  return sums
end

local function insert(name, n, place, new)
  if place == n then
    redis.call('APPEND', name, new)
  else
    redis.call('SETRANGE', name, place * size, new .. redis.call('GETRANGE', name, place * size, -1))
  end
end

local function remember(request, position, id) -- gives how to undo it: '' by nothing, '-' by deleting, else by '<what was'
  local there = redis.call('HGET', request, position)
  if there == id or there == '' then return '' end
  there = there and redis.call('EXISTS', prefix .. 't:' .. there) == 1 and there -- else that row is forgotten
  redis.call('HSET', request, position, there and '' or id) -- '': a client gave several rows the same place
  return there and '<' .. there or '-'
end

local function forget_place(request, position, id, undo)
  local there = undo ~= '' and redis.call('HGET', request, position)
  if undo == '-' and there == id then redis.call('HDEL', request, position) end
  if undo:sub(1, 1) == '<' and there == '' then redis.call('HSET', request, position, undo:sub(2)) end
end

local function reached(time, known) -- a label that came late keeps its row in the windows
  if label_times and known == known then return known - delay end
  return time
end

local function write(name, records)
  if records == '' then redis.call('DEL', name) else redis.call('SET', name, records) end
end

local function trim(name) -- leave out what is forgotten, once the record in the middle is
  local n = length(name)
  local half = math.ceil(n / 2)
  local function forgotten(there) return redis.call('EXISTS', prefix .. 't:' .. there:sub(9, head)) == 0 end
  if n == 0 or not forgotten(record(name, half - 1)) then return end
  local first, kept = redis.call('GETRANGE', name, 0, half * size - 1), {}
  for i = 0, half - 1 do
    local there = first:sub(i * size + 1, (i + 1) * size)
    if not forgotten(there) then kept[#kept + 1] = there end
  end
  while half < n and forgotten(record(name, half)) do half = half + 1 end
  write(name, table.concat(kept) .. redis.call('GETRANGE', name, half * size, -1))
end

local function forget(horizon, till, most)
  local mark = tonumber(redis.call('GET', prefix .. 'forgotten'))
  for _ = 1, most do
    local day = redis.call('ZRANGE', prefix .. 'queue', 0, 0)[1]
    if not day or (tonumber(day) + 1) * DAY - 1 > till then break end
    local id = redis.call('LPOP', prefix .. 'd:' .. day)
    local row = id and redis.call('GET', prefix .. 't:' .. id)
    if not id then
      redis.call('ZREM', prefix .. 'queue', day)
    elseif row then
      local time, _, names = named(row)
      local moment = reached(time, (struct.unpack('<d', row)))
      if moment > horizon then
        local later = string.format('%.0f', math.floor(moment / DAY))
        redis.call('RPUSH', prefix .. 'd:' .. later, id)
        redis.call('ZADD', prefix .. 'queue', later, later)
      else
        redis.call('DEL', prefix .. 't:' .. id, prefix .. 'l:' .. id, prefix .. 's:' .. id)
        for _, name in ipairs(names) do trim(name) end
        mark = math.max(mark or moment, moment)
        redis.call('SET', prefix .. 'forgotten', string.format('%.0f', mark))
      end
    end
  end
end

local calls = {}

function calls.take()
  local look, add, number = arg() == '1', arg() == '1', tonumber(arg())
  local reach, ahead, tomorrow = tonumber(arg()), tonumber(arg()), tonumber(arg())
  local late, dispute, most, ttl = tonumber(arg()), tonumber(arg()), tonumber(arg()), arg()
  local undoable, sofar, kept_newest, kept_rows = arg() == '1', tonumber(arg()), tonumber(arg()), tonumber(arg())
  local function keep(newest, rows) -- what no failure can undo any more
    newest = math.max(newest, tonumber(redis.call('GET', prefix .. 'newest')) or newest)
    redis.call('SET', prefix .. 'newest', string.format('%.0f', newest))
    if reach then
      local now = math.min(newest, tomorrow)
      local horizon = now - reach - late
      forget(horizon, label_times and math.min(horizon, now - dispute) or horizon, most * rows)
    end
  end
  if kept_newest then keep(kept_newest, kept_rows) end
  local forgotten = tonumber(redis.call('GET', prefix .. 'forgotten'))
  local newest = tonumber(redis.call('GET', prefix .. 'newest')) or sofar
  newest = newest and math.max(newest, sofar or newest)
  local rows, seen = {}, {}
  for e = 1, number do -- nothing is written before all of them are known to be sound
    local row = { id = arg(), word = arg(), day = arg(), label_day = arg(), sent = arg(), rest = arg() }
    row.request, row.position, row.keys = arg(), arg(), {}
    for k = 1, keys do row.keys[k] = arg() end
    row.time = struct.unpack('<d', row.sent)
    if forgotten and (not reach or row.time - (look and reach or 1) < forgotten) then
      return { e - 1, 'forgotten', '0' }
    end
    if add then
      if ahead and newest and row.time - newest > ahead then
        return { e - 1, 'ahead', string.format('%.0f', row.time - newest) }
      end
      newest = math.max(newest or row.time, row.time)
      local there = row.id ~= '' and (seen[row.id] or redis.call('GET', prefix .. 't:' .. row.id))
      if there and there:sub(10) ~= row.sent then return { e - 1, 'another', '0' } end
      row.fresh = not there
      if row.id ~= '' then seen[row.id] = string.rep(' ', 9) .. row.sent end
    end
    rows[e] = row
  end
  local answers = {}
  for e, row in ipairs(rows) do
    if row.id == '' and add then
      local next_id = redis.call('INCR', prefix .. 'next') - 1
      row.id = struct.pack('>I4I4', math.floor(next_id / 2 ^ 32) + 2 ^ 31, next_id % 2 ^ 32)
    elseif row.id == '' then
      row.id = string.rep('\255', width)
    end
    local known = look and known_before(row.day) or { 0, 0 }
    local answer = { known[1], known[2], row.fresh and 1 or 0, row.id, '' }
    local unsaid = struct.pack('<dB', 0 / 0, 0)
    for k = 1, keys do
      answer[5 + k] = ''
      if row.keys[k] ~= '' then
        local name = prefix .. 'k' .. k .. ':' .. row.keys[k]:sub(2)
        local n = length(name)
        local place = before(name, n, row.time, row.id, row.word)
        if look then
          local start = reach and not label_times and until_time(name, n, row.time - reach) or 0
          if start < place then
            answer[5 + k] = redis.call('GETRANGE', name, start * size, place * size - 1)
          end
        end
        if row.fresh then
          insert(name, n, place, row.sent:sub(1, 8) .. row.id .. unsaid .. row.rest)
        end
      end
    end
    if row.fresh then
      redis.call('SET', prefix .. 't:' .. row.id, unsaid .. row.sent)
      redis.call('RPUSH', prefix .. 'd:' .. row.day, row.id)
      redis.call('ZADD', prefix .. 'queue', row.day, row.day)
      count(row.label_day, 1, 0)
    elseif add then -- whoever brought the row may still fail
      redis.call('HINCRBY', prefix .. 's:' .. row.id, 'n', 1)
      redis.call('EXPIRE', prefix .. 's:' .. row.id, 3600)
    end
    if add and row.request ~= '' then
      answer[5] = remember(prefix .. 'q:' .. row.request, row.position, row.id)
      if ttl ~= '' then redis.call('EXPIRE', prefix .. 'q:' .. row.request, ttl) end
    end
    answers[e] = answer
  end
  if add and number > 0 and not undoable then keep(newest, number) end
  return answers
end

local function take_out(ids, but) -- each string but those is written once; gives how many rows there were
  local rows, places, number = {}, {}, 0
  for _, id in ipairs(ids) do
    local row = not rows[id] and redis.call('GET', prefix .. 't:' .. id)
    if row then
      rows[id], number = row, number + 1
      local time, word, names = named(row)
      for _, name in ipairs(names) do
        local place = not but[name] and find(name, time, id, word)
        if place then
          places[name] = places[name] or {}
          table.insert(places[name], place)
        end
      end
    end
  end
  for name, gone in pairs(places) do
    table.sort(gone)
    local pieces, from = {}, 0
    for _, place in ipairs(gone) do
      if place > from then pieces[#pieces + 1] = redis.call('GETRANGE', name, from * size, place * size - 1) end
      from = place + 1
    end
    pieces[#pieces + 1] = redis.call('GETRANGE', name, from * size, -1)
    write(name, table.concat(pieces))
  end
  for id, row in pairs(rows) do
    redis.call('DEL', prefix .. 't:' .. id, prefix .. 'l:' .. id, prefix .. 's:' .. id)
    redis.call('LREM', prefix .. 'd:' .. string.format('%.0f', math.floor(named(row) / DAY)), -1, id)
  end
  return number
end

function calls.drop() -- what was taken for a request that failed after all; the last comes first
  local gone = {}
  for _ = 1, tonumber(arg()) do
    local id, label_day, fresh, request, position, undo = arg(), arg(), arg() == '1', arg(), arg(), arg()
    local again = prefix .. 's:' .. id
    local others = tonumber(redis.call('HGET', again, 'n')) or 0
    local nobodys = fresh and others == 0
    if fresh and others > 0 then
      redis.call('HSET', again, 'failed', 1) -- the row is theirs now
    elseif others > 1 then
      redis.call('HINCRBY', again, 'n', -1)
    elseif others == 1 then
      nobodys = redis.call('HGET', again, 'failed') == '1'
      redis.call('DEL', again)
    end
    if nobodys and redis.call('EXISTS', prefix .. 'l:' .. id) == 0 then -- else somebody was told that it is there
      gone[#gone + 1] = id
      if redis.call('EXISTS', prefix .. 't:' .. id) == 1 then count(label_day, -1, 0) end
    end
    if nobodys or not fresh then forget_place(prefix .. 'q:' .. request, position, id, undo) end
  end
  take_out(gone, {})
  return 1
end

function calls.erase() -- rows of ids, and those of keys, up to about so many; known labels stay counted
  local most, ids, own, more = tonumber(arg()), {}, {}, 0
  for _ = 1, tonumber(arg()) do
    ids[#ids + 1] = arg()
    local value = arg()
    for k = 1, keys do
      local name = prefix .. 'k' .. k .. ':' .. value
      local n = length(name)
      local now = math.max(0, math.min(n, most - #ids))
      local records = now > 0 and redis.call('GETRANGE', name, 0, now * size - 1) or ''
      for i = 0, now - 1 do ids[#ids + 1] = records:sub(i * size + 9, i * size + head) end
      if now == n then
        redis.call('DEL', name)
      else
        if now > 0 then redis.call('SET', name, redis.call('GETRANGE', name, now * size, -1)) end
        more = 1
      end
      own[name] = true
    end
  end
  return { take_out(ids, own), more }
end

function calls.sweep() -- takes out of requests what named rows that are gone
  for _ = 1, tonumber(arg()) do
    local request = arg()
    local held = redis.call('HGETALL', request)
    for i = 1, #held, 2 do
      if held[i + 1] ~= '' and redis.call('EXISTS', prefix .. 't:' .. held[i + 1]) == 0 then
        redis.call('HDEL', request, held[i])
      end
    end
  end
  return 1
end

function calls.settle()
  local changes = {}
  for c = 1, tonumber(arg()) do
    local change = { id = arg(), row = arg(), said = arg(), says = arg(), label = arg() }
    change.was = { arg(), -1, -tonumber(arg()) }
    change.is = { arg(), 1, tonumber(arg()) }
    local there = redis.call('GET', prefix .. 't:' .. change.id)
    if there ~= change.row or (redis.call('GET', prefix .. 'l:' .. change.id) or '') ~= change.said then return 0 end
    changes[c] = change
  end
  for _, change in ipairs(changes) do
    if change.says == '' then
      redis.call('DEL', prefix .. 'l:' .. change.id)
    else
      redis.call('SET', prefix .. 'l:' .. change.id, change.says)
    end
    redis.call('SETRANGE', prefix .. 't:' .. change.id, 0, change.label)
    local time, word, names = named(change.row)
    for _, name in ipairs(names) do
      local place = find(name, time, change.id, word)
      if place then redis.call('SETRANGE', name, place * size + head, change.label) end
    end
    count(unpack(change.was))
    count(unpack(change.is))
  end
  return 1
end

if redis.call('GET', prefix .. 'meta') ~= ARGV[2] then return redis.error_reply('GONE') end
return calls[ARGV[1]]()
