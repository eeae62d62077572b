#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "control/api/http_message.h"

namespace bellhop::control {

/// How much of a message is taken.
struct HttpLimits {
  std::uint32_t head = 8 * 1024;   ///< bytes of the first line and the header fields
  std::uint64_t body = 64 * 1024;  ///< bytes
};

enum class HttpProgress : std::uint8_t {
  kNeedsMore,
  kComplete,
  kMalformed,
  kHeadTooLarge,
  kBodyTooLarge,
};

/// What put() has made of the bytes.
struct HttpStep {
  HttpProgress progress = HttpProgress::kNeedsMore;
  /// Bytes that are dealt with. The rest comes again, with what follows it, in the next put().
  std::size_t taken = 0;
};

/// Takes HTTP/1.1 requests, one after the other, out of bytes that were read elsewhere.
class HttpRequestParser {
 public:
  explicit HttpRequestParser(HttpLimits limits = {});
  ~HttpRequestParser();
  HttpRequestParser(const HttpRequestParser&) = delete;
  HttpRequestParser& operator=(const HttpRequestParser&) = delete;

  /// After a step that is neither kNeedsMore nor kComplete there are no more requests.
  HttpStep put(std::string_view bytes);
  /// Of a request that needs more: its client waits for leave to send the body (RFC 9110, 10.1.1).
  [[nodiscard]] bool expects_continue() const;
  /// Something of a request was taken, and it is not complete.
  [[nodiscard]] bool under_way() const;
  /// After kComplete: the request, without descriptors. The parser begins with the next one.
  HttpRequest take();

 private:
  class Impl;
  HttpLimits limits_;
  std::unique_ptr<Impl> impl_;
};

/// Takes one answer out of bytes that were read elsewhere.
class HttpResponseParser {
 public:
  explicit HttpResponseParser(HttpLimits limits);
  ~HttpResponseParser();
  HttpResponseParser(const HttpResponseParser&) = delete;
  HttpResponseParser& operator=(const HttpResponseParser&) = delete;

  HttpStep put(std::string_view bytes);
  /// The other end has closed the connection: kComplete if the answer ends with it.
  HttpProgress end();
  HttpResponse take();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace bellhop::control
