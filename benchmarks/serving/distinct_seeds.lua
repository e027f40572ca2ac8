-- Asks for another seed each time: the threads' counters start far apart, so that no seed comes twice.
-- Answers of 400 and above are errors, and no requests.
-- Arguments: the path, the seed at its end; or path, media type, text before and text after the seed: a POST of that body.
local threads = 0

function setup(thread)
  thread:set("first", tonumber(os.getenv("FIRST_SEED") or "0") + threads * 50000000)
  threads = threads + 1
end

function init(args)
  path = (args[1] or "/generate?seed=")
  before, after = args[3], args[4] or ""
  headers = { ["Content-Type"] = args[2] }
  seed = first
end

function request()
  seed = seed + 1
  if before then
    return wrk.format("POST", path, headers, before .. seed .. after)
  end
  return wrk.format("GET", path .. seed)
end

function done(summary, latency, requests)
  local bad = summary.errors.connect + summary.errors.read + summary.errors.write
      + summary.errors.status + summary.errors.timeout
  local good = summary.requests - summary.errors.status
  io.write(string.format("RESULT %.3f %d %.6f %.6f %d\n", good / summary.duration * 1e6, good,
    latency:percentile(50) / 1e6, latency:percentile(99) / 1e6, bad))
end
