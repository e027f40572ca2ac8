-- Asks for another seed each time: the threads' counters start far apart, so that no seed comes twice.
local threads = 0

function setup(thread)
  thread:set("first", tonumber(os.getenv("FIRST_SEED") or "0") + threads * 50000000)
  threads = threads + 1
end

function init(args)
  path = (args[1] or "/generate?seed=")
  seed = first
end

function request()
  seed = seed + 1
  return wrk.format("GET", path .. seed)
end

function done(summary, latency, requests)
  local bad = summary.errors.connect + summary.errors.read + summary.errors.write
      + summary.errors.status + summary.errors.timeout
  io.write(string.format("RESULT %.3f %d %.6f %.6f %d\n", summary.requests / summary.duration * 1e6, summary.requests,
    latency:percentile(50) / 1e6, latency:percentile(99) / 1e6, bad))
end
