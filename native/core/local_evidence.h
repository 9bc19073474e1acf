// Evidence from the user's own card: the files of a folder of the user, read once, when the library's tables are made.
#pragma once

#include <string>
#include <vector>

#include "evidence_file.h"
#include "registry.h"

namespace opswap {

// A file of the folder: its facts, or why it is refused.
struct LocalFile {
  std::string place;  // MODEL/OP.json
  std::string refusal;
  CardEvidence facts;
};

struct LocalEvidence {
  std::string folder;
  std::string refusal;  // why the folder was not read to its end
  std::vector<LocalFile> files;
};

// OPSWAP_EVIDENCE_DIR, else opswap/evidence in the user's state folder.
const LocalEvidence &local_evidence();

// Adds what the folder says of an implementation.
void add_local_evidence(ImplRecord &record);

// For `why`: a remark on each file of the op, found or refused.
std::vector<std::string> local_remarks(const char *op);

// "" where the build has no kernels of it.
const char *kernel_sources_of(const char *op);

}  // namespace opswap
